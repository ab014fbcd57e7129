"""Adapters in the engine: each row of a batch writes what its own merged model would write."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import pytest
from adapter_files import greedy, merged, save_adapter
from tiny_model import LAYOUTS, drain, ends, load_reference, save_model

from torchloom.device import Device
from torchloom.engine import Result, Work
from torchloom_models.llm.engine import LlmEngine
from torchloom_models.llm.opening import open_engine


PROMPT = "the quick brown fox jumps over the lazy dog"
OTHER = "how many ships are in the harbour today? there are seven of them, and all are old"

NUM_TOKENS = 12

_ROUTES = {
    "eager": ("cpu", "eager"),
    "inductor": ("cpu", "inductor"),
    "openvino": ("openvino:CPU", "auto"),
}


def open_on(folder: Path, route: str, **config: object) -> LlmEngine:
    """Open an engine in float32 by one of the routes."""
    device, compiler = _ROUTES[route]
    if route == "openvino":
        pytest.importorskip("openvino")
    values = {
        "name": "tiny",
        "source": str(folder),
        "compile": compiler,
        "dtype": "float32",
        "max_sequences": 4,
        "max_length": 128,
        **config,
    }
    return open_engine(values, Device.parse(device), lambda *_: None)


def write(engine: LlmEngine, asked: Mapping[int, tuple[str, str | None]]) -> dict[int, list[int]]:
    """Ask for answers at once, each by an adapter or by none; give their tokens."""
    sequences = {}
    for number, (prompt, adapter) in asked.items():
        params = {"max_tokens": NUM_TOKENS, "ignore_eos": True, "adapter": adapter}
        engine.admit(Work(number, {"prompt": prompt}, params))
        sequences[number] = engine._sequences[number]
        engine.step()
    results = ends(drain(engine))
    assert all(isinstance(result, Result) for result in results.values()), results
    return {number: sequence.tokens for number, sequence in sequences.items()}


def save_two(folder: Path, layout: str) -> tuple[Path, Path, Path]:
    """Write a model and two adapters of it, of other layers, ranks and scalings."""
    model = save_model(folder / "model", layout)
    if layout == "gpt2":
        every: list[str] = ["c_attn", "c_proj", "c_fc"]
        some = r".*\.[02]\.attn\.c_attn"
    elif layout == "phi3":
        every = ["qkv_proj", "o_proj", "gate_up_proj", "down_proj"]
        some = r".*layers\.1\..*(o_proj|down_proj)"
    else:
        every = ["q_proj", "k_proj", "v_proj", "o_proj", "down_proj"]
        some = r".*layers\.1\..*(q_proj|v_proj|down_proj|fc2)"
    first = save_adapter(folder / "first", model, targets=every)
    pattern = {"rank_pattern": {every[-1]: 2}, "alpha_pattern": {every[0]: 3}}
    second = save_adapter(
        folder / "second", model, targets=some, seed=2, r=6, use_rslora=True, **pattern
    )
    return model, first, second


def compare(folder: Path, layout: str, route: str) -> None:
    """Compare rows, alone and mixed, with the merged models."""
    model, first, second = save_two(folder, layout)
    adapters = {"first": str(first), "second": str(second)}
    engine = open_on(model, route, adapters=adapters, max_lora_rank=8)
    models = {
        None: load_reference(model),
        "first": merged(model, first),
        "second": merged(model, second),
    }

    asked = {
        0: (PROMPT, "first"),
        1: (OTHER, None),
        2: (PROMPT, "second"),
        3: (PROMPT, None),
    }
    expected = {
        number: greedy(models[name], prompt, NUM_TOKENS) for number, (prompt, name) in asked.items()
    }
    mixed = write(engine, asked)
    alone = {number: write(engine, {0: each})[0] for number, each in asked.items()}
    engine.close()

    assert mixed == expected
    assert alone == expected
    assert len({tuple(tokens) for tokens in expected.values()}) == len(expected)


@pytest.mark.parametrize("layout", sorted(set(LAYOUTS) - {"mixtral"}))
def test_writes_what_merged_models_write(layout: str, tmp_path: Path) -> None:
    """Token for token, alone and in one batch with others and with none."""
    compare(tmp_path, layout, "eager")


@pytest.mark.slow
@pytest.mark.parametrize("layout", ["llama", "qwen3", "mistral", "gpt2"])
@pytest.mark.parametrize("route", ["inductor", "openvino"])
def test_writes_the_same_by_compiled_code(layout: str, route: str, tmp_path: Path) -> None:
    """One piece of code serves all adapters."""
    compare(tmp_path, layout, route)
