"""How OpenVINO runs a model's passes: by its kernel for pages wherever that serves the model."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
import torch
from tiny_model import load_reference
from transformers import PreTrainedModel

from torchloom_models.artefact import ArtefactKey
from torchloom_models.compile import CompileSettings
from torchloom_models.llm import attention, openvino_opening
from torchloom_models.llm.cache.cache_room import CacheRoom
from torchloom_models.llm.cache.kv_cache import token_bytes
from torchloom_models.llm.model_runner import probe_layers
from torchloom_models.llm.openvino_opening import open_openvino
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.recipe import Recipe


pytestmark = pytest.mark.slow

pytest.importorskip("openvino")


@pytest.fixture
def model(llama: Path) -> PreTrainedModel:
    """Give the tiny Llama as engines load it."""
    attention.register()
    model = load_reference(llama)
    model.set_attn_implementation(attention.IMPLEMENTATION)
    return model


def open_it(
    model: PreTrainedModel, folder: Path, device: str = "openvino:CPU"
) -> OpenvinoRunner | PagedRunner:
    """Make a runner of two slots; nothing is compiled yet."""
    layers = probe_layers(model)
    room = CacheRoom(
        layers=layers,
        bytes_per_token=token_bytes(layers, model.dtype),
        model_length=256,
        max_sequences=2,
        max_length=64,
        kv_cache=None,
        free_bytes=1 << 30,
        device="cpu",
    )
    key = ArtefactKey(model="llama", dtype=str(model.dtype), device=device, name="tiny")
    recipe = Recipe(settings=CompileSettings(), key=key, folder=folder)
    runner, size = open_openvino(model, room, recipe)
    assert size.num_tokens == 2 * 64
    return runner


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_takes_the_kernel_on_a_cpu(
    model: PreTrainedModel, dtype: torch.dtype, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Causal attention, in a dtype that the processor calculates in."""
    monkeypatch.setattr(openvino_opening, "is_native", lambda *_: True)

    runner = open_it(model.to(dtype), tmp_path)

    assert isinstance(runner, PagedRunner)
    assert (runner.num_rows, runner.max_length) == (2, 64)
    runner.close()


def test_takes_its_own_pass_on_other_devices(
    model: PreTrainedModel, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """A GPU has pages of another form; the log says why."""
    with caplog.at_level(logging.INFO):
        runner = open_it(model, tmp_path, "openvino:GPU")

    assert isinstance(runner, OpenvinoRunner)
    assert "tiny: not by OpenVINO's attention in pages: it is the CPU's" in caplog.text
    runner.close()


def test_takes_its_own_pass_in_a_dtype_that_the_processor_lacks(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """OpenVINO would calculate in float32, with a cache of another type than ours."""
    monkeypatch.setattr(openvino_opening, "is_native", lambda *_: False)

    runner = open_it(model.to(torch.bfloat16), tmp_path)

    assert isinstance(runner, OpenvinoRunner)
    runner.close()


def test_takes_its_own_pass_for_masks_that_the_kernel_does_not_know(
    model: PreTrainedModel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A layer that looks ahead is not causal."""
    plain = attention.make_mask

    def look_ahead(*arguments: object, **options: object) -> object:
        return plain(*arguments, **{**options, "mask_function": lambda *_: torch.tensor(True)})

    monkeypatch.setattr(attention, "make_mask", look_ahead)
    attention.register()
    try:
        runner = open_it(model, tmp_path)
    finally:
        monkeypatch.undo()
        attention.register()

    assert isinstance(runner, OpenvinoRunner)
    runner.close()
