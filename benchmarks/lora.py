"""What adapters cost: `python -m benchmarks.lora`.

Engines in one process on one device, of a Llama of about 100 M with random weights, take turns at
the same prompts: one whose model file has no adapters, another like it, which says how much two
that are the same differ, and one with four LoRA adapters on all linear layers, or on those that
`--layers` names, which is asked for the model itself, and for all four in one batch.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import torch
from safetensors import safe_open
from safetensors.torch import save_file

from benchmarks.folders import make_llama, prompt_of
from benchmarks.report import Report, interleave, paired_ratio
from torchloom.device import Device
from torchloom.engine import Work
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine


CLIENTS = (1, 4, 16)
NUM_ADAPTERS = 4
LAYERS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
PROMPT_TOKENS, NUM_TOKENS = 32, 32


def make_adapter(model: Path, folder: Path, *, layers: Sequence[str], rank: int, seed: int) -> Path:
    """Write an adapter with random weights for linear layers of a Llama."""
    folder.mkdir()
    draw = torch.Generator().manual_seed(seed)
    tensors = {}
    with safe_open(model / "model.safetensors", "pt") as weights:
        for key in weights.keys():  # noqa: SIM118 - it is no mapping
            if key.removesuffix(".weight").endswith(tuple(layers)):
                num_out, num_in = weights.get_slice(key).get_shape()
                name = f"base_model.model.{key.removesuffix('.weight')}.lora"
                tensors[f"{name}_A.weight"] = torch.randn((rank, num_in), generator=draw) * 0.02
                tensors[f"{name}_B.weight"] = torch.randn((num_out, rank), generator=draw) * 0.02
    save_file(tensors, folder / "adapter_model.safetensors")
    config = {"peft_type": "LORA", "r": rank, "lora_alpha": rank, "target_modules": list(layers)}
    (folder / "adapter_config.json").write_text(json.dumps(config), encoding="utf-8")
    return folder


def run(engine: LlmEngine, adapters: Sequence[str | None], clients: int) -> float:
    """Give tokens per second of so many sequences at once, the adapters in turn."""
    for number in range(clients):
        params = {"max_tokens": NUM_TOKENS, "temperature": 0, "ignore_eos": True}
        adapter = adapters[number % len(adapters)]
        prompt = prompt_of(PROMPT_TOKENS, number)
        engine.admit(Work(number, {"prompt": prompt}, {**params, "adapter": adapter}))
    began = time.perf_counter()
    while not engine.is_idle:
        engine.step()
    return clients * NUM_TOKENS / (time.perf_counter() - began)


def compare(report: Report, folder: Path, device: str, dtype: str, rank: int) -> None:
    """Add a row for each number of sequences."""
    config = {
        "source": str(folder / "llama"),
        "dtype": dtype,
        "max_length": 256,
        "artefacts": str(folder / "kept"),
        "prefix_cache": False,  # the same prompts again and again
    }
    names = [f"adapter-{number}" for number in range(NUM_ADAPTERS)]
    sources = {
        "adapters": {name: str(folder / name) for name in names},
        "max_lora_rank": rank,
    }
    plain, again, adapted = (
        open_engine({**config, **more}, Device.parse(device), lambda *_: None)
        for more in ({}, {}, sources)
    )
    for clients in CLIENTS:
        sides: dict[str, Callable[[], float]] = {
            "plain": partial(run, plain, [None], clients),
            "again": partial(run, again, [None], clients),
            "base": partial(run, adapted, [None], clients),
            "mixed": partial(run, adapted, names, clients),
        }
        interleave(sides, repeats=1)  # warm-up
        figures = interleave(sides, repeats=7)
        report.add(
            f"{device}, {dtype}, {clients} at once",
            *(statistics.median(figures[side]) for side in ("plain", "base", "mixed")),
            *(paired_ratio(figures[side], figures["plain"]) for side in ("base", "mixed", "again")),
        )
    for engine in (plain, again, adapted):
        engine.close()


def main() -> None:
    """Measure each device that is named."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--devices", nargs="*", default=["openvino:CPU"])
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--rank", type=int, default=16)
    parser.add_argument("--layers", nargs="*", default=LAYERS)
    options = parser.parse_args()
    columns = ("", "no adapters", "base", "4 mixed", "base over none", "mixed over none")
    report = Report(
        name="lora",
        title=f"LoRA adapters of rank {options.rank}, tokens/s",
        columns=(*columns, "the same again"),
    )
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        make_llama(folder / "llama", hidden=768, layers=12)
        for number in range(NUM_ADAPTERS):
            place = folder / f"adapter-{number}"
            make_adapter(
                folder / "llama", place, layers=options.layers, rank=options.rank, seed=number
            )
        for device in options.devices:
            compare(report, folder, device, options.dtype, options.rank)
    report.finish()


if __name__ == "__main__":
    main()
