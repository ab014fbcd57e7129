"""AdapterWeights: safe, whole, finite factors, or the reason why there are none."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from adapter_files import CONFIG
from safetensors.torch import save_file
from torch import Tensor

from torchloom.errors import InvalidModel
from torchloom_models.llm.adapter.config import AdapterConfig
from torchloom_models.llm.adapter.weights import FILE, AdapterWeights


NAME = "base_model.model.model.layers.0.self_attn.q_proj.lora_{}.weight"

A, B = NAME.format("A"), NAME.format("B")


def config() -> AdapterConfig:
    """Give a configuration of rank 4 and scaling 2."""
    return AdapterConfig.from_values({**CONFIG, "target_modules": ["q_proj"]})


def tensors() -> dict[str, Tensor]:
    """Give factors that fit it."""
    return {A: torch.ones(4, 6, dtype=torch.bfloat16), B: torch.full((8, 4), 3.0)}


def test_reads_factors_with_their_scaling(tmp_path: Path) -> None:
    """In float32: the second is turned round, and scaled."""
    save_file(tensors(), tmp_path / FILE)

    weights = AdapterWeights.read(tmp_path, config())

    factors = weights.layers["model.layers.0.self_attn.q_proj"]
    assert torch.equal(factors.down, torch.ones(4, 6))
    assert torch.equal(factors.up, torch.full((4, 8), 6.0))


Change = Callable[[dict[str, Tensor]], None]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.clear(), "holds no tensors"),
        (lambda t: t.pop(B), "lacks its factor B"),
        (lambda t: t.pop(A), "lacks its factor A"),
        (lambda t: t[A].fill_(math.nan), "factor A of layer .* holds NaN or infinity"),
        (lambda t: t[B].view(-1)[3].fill_(math.inf), "factor B of layer .* holds NaN"),
        (lambda t: t.update({A: torch.ones(8, 6)}), r"should have rank 4, but .*\[8, 6\]"),
        (lambda t: t.update({A: torch.ones(4)}), r"is \[4\] of float32, and no matrix"),
        (lambda t: t.update({A: torch.ones(4, 6, dtype=torch.int8)}), "of int8, and no matrix"),
        (
            lambda t: t.update({A.replace("q_proj", "k_proj"): torch.ones(4, 6)}),
            "'model.layers.0.self_attn.k_proj', which its configuration does not name",
        ),
        (
            lambda t: t.update({"base_model.model.x.lora_magnitude_vector": torch.ones(4)}),
            "holds 'base_model.model.x.lora_magnitude_vector', which is no factor",
        ),
    ],
)
def test_refuses_what_is_no_plain_adapter(tmp_path: Path, change: Change, message: str) -> None:
    """By the name of the tensor, or of the layer."""
    values = tensors()
    change(values)
    save_file(values, tmp_path / FILE)

    with pytest.raises(InvalidModel, match=message):
        AdapterWeights.read(tmp_path, config())


@pytest.mark.parametrize(
    ("name", "message"),
    [("nothing", "there is no adapter_model.safetensors"), ("adapter_model.bin", "are a pickle")],
)
def test_reads_no_pickle(tmp_path: Path, name: str, message: str) -> None:
    """It can run code; without any weights there is less to say."""
    (tmp_path / name).write_bytes(b"\x80\x04.")

    with pytest.raises(InvalidModel, match=message):
        AdapterWeights.read(tmp_path, config())


@pytest.mark.parametrize("keep", [3, 60, -10])
def test_says_that_a_file_is_broken(tmp_path: Path, keep: int) -> None:
    """One that was cut short, wherever."""
    save_file(tensors(), tmp_path / FILE)
    whole = (tmp_path / FILE).read_bytes()
    (tmp_path / FILE).write_bytes(whole[:keep])

    with pytest.raises(InvalidModel, match="broken"):
        AdapterWeights.read(tmp_path, config())
