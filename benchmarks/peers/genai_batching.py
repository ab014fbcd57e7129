"""A peer of the LLM benchmark: openvino-genai's continuous batching, on the same weights.

`python -m benchmarks.peers.genai_batching FOLDER DTYPE` converts FOLDER (by optimum-intel, once)
and answers as `benchmarks.peers.engine` does. With no argument it says whether it could. It runs in
an environment of its own: optimum-intel wants an older transformers than TorchLoom.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import openvino_genai


#: Names of types as openvino-genai has them. By itself it would keep the cache in 8 bits.
_PRECISIONS = {"float32": "f32", "bfloat16": "bf16"}


def convert(folder: Path, target: Path) -> None:
    """Write the model in the form that openvino-genai reads, with its tokenizer."""
    import openvino  # noqa: PLC0415 - with optimum, only where there is something to convert
    from openvino_tokenizers import convert_tokenizer  # noqa: PLC0415
    from optimum.intel import OVModelForCausalLM  # noqa: PLC0415
    from transformers import AutoTokenizer  # noqa: PLC0415

    model = OVModelForCausalLM.from_pretrained(
        folder, export=True, compile=False, load_in_8bit=False
    )
    model.save_pretrained(target)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    parts = convert_tokenizer(tokenizer, with_detokenizer=True)
    for part, name in zip(parts, ("tokenizer", "detokenizer"), strict=True):
        openvino.save_model(part, target / f"openvino_{name}.xml")


def open_pipeline(folder: Path, dtype: str) -> openvino_genai.ContinuousBatchingPipeline:
    """Open it exact: calculated and cached in the dtype that is asked for."""
    scheduler = openvino_genai.SchedulerConfig()
    scheduler.cache_size = 1
    scheduler.enable_prefix_caching = False
    precision = _PRECISIONS[dtype]
    options = {"INFERENCE_PRECISION_HINT": precision, "KV_CACHE_PRECISION": precision}
    return openvino_genai.ContinuousBatchingPipeline(folder, scheduler, "CPU", options)


def open_converted(folder: Path, dtype: str) -> openvino_genai.ContinuousBatchingPipeline:
    """Open a folder of transformers' layout; what is made of it is kept beside it."""
    target = folder.with_name(f"{folder.name}-openvino")
    if not target.exists():
        convert(folder, target)
    return open_pipeline(target, dtype)


def config_of(params: dict[str, int]) -> openvino_genai.GenerationConfig:
    """Ask for so many tokens, greedily, whatever they are."""
    config = openvino_genai.GenerationConfig()
    config.max_new_tokens = params["max_tokens"]
    config.ignore_eos = True
    config.do_sample = False
    return config


def main() -> None:
    """Answer until standard input ends."""
    if len(sys.argv) == 1:
        return
    pipeline = open_converted(Path(sys.argv[1]), sys.argv[2])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        order = json.loads(line)
        prompts = [task["inputs"]["prompt"] for task in order["batch"]]
        configs = [config_of(task["params"]) for task in order["batch"]]
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < order["seconds"]:
            count += len(pipeline.generate(prompts, configs))
        print(json.dumps({"per_s": count / (time.perf_counter() - began)}), flush=True)


if __name__ == "__main__":
    main()
