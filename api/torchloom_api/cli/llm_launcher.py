"""`torchloom llm-launcher`: a language model behind TorchServe's API, by one line.

Its options are those of `python -m ts.llm_launcher`. Knows not how they become a server.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from torchloom_api.cli.parser_command import make_command


def main(words: Sequence[str], prog: str) -> int:
    """Serve a model until a signal, as the words say. Gives the exit code."""
    arguments = _make_parser(prog).parse_args(words)
    from torchloom_api.cli.llm_launcher_job import Launch, launch  # noqa: PLC0415 - not for --help

    said = {name.replace(".", "_"): value for name, value in vars(arguments).items()}
    return launch(Launch(**said))


def _make_parser(prog: str) -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=prog, description="Serve a language model behind TorchServe's API, until a signal."
    )
    add = parser.add_argument
    add("--model_name", default="model", help="what it is called in addresses (default: model)")
    add("--model_store", default="model_store", help="folder for its archive; made if need be")
    add(
        "--model_id",
        default="meta-llama/Meta-Llama-3.1-8B-Instruct",
        help="id of the hub, or a folder",
    )
    add("--disable_token_auth", action="store_true", help="ask for no tokens")
    add(
        "--engine",
        choices=("vllm", "trt_llm"),
        default="vllm",
        help="whose handler's answers it gives; TorchLoom's own engine runs either way",
    )
    add("--dtype", help="float32, bfloat16 or float16 (default: that of the weights)")
    add("--startup_timeout", type=int, default=1200, help="seconds (default: 1200)")
    add("--vllm_engine.max_num_seqs", type=int, default=256, help="sequences at once")
    add("--vllm_engine.max_model_len", type=int, help="tokens of the longest one")
    add("--vllm_engine.download_dir", help="a cache of the hub's to look into")
    add("--trt_llm_engine.max_batch_size", type=int, default=4, help="sequences at once")
    add(
        "--trt_llm_engine.kv_cache_free_gpu_memory_fraction",
        type=float,
        default=0.1,
        help="means nothing here",
    )
    return parser


llm_launcher_command = make_command(
    "llm-launcher", main, summary="Serve a language model behind TorchServe's API, by one line."
)
