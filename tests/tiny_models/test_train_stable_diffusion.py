"""The training script: two stages, and a folder that anybody can load."""

from __future__ import annotations

import stat
from dataclasses import replace
from pathlib import Path

import pytest


torch = pytest.importorskip("torch")
diffusers = pytest.importorskip("diffusers")

from examples.tiny_models.train_stable_diffusion import (  # noqa: E402 - needs diffusers
    StableDiffusionPlan,
    load_parts,
    make_parts,
    save,
    train,
)


pytestmark = pytest.mark.slow


PLAN = StableDiffusionPlan(
    autoencoder_steps=2, autoencoder_batch=8, steps=2, batch=8, lessons=100, compile=False
)


def test_trains_into_a_folder_and_goes_on_from_it(tmp_path: Path) -> None:
    """Both stages end in a folder; going on from it keeps the autoencoder and moves the rest."""
    torch.set_num_threads(2)
    train(replace(PLAN, folder=tmp_path / "first"))
    train(replace(PLAN, folder=tmp_path / "second", start=tmp_path / "first"))

    first, second = load_parts(tmp_path / "first"), load_parts(tmp_path / "second")
    vaes = [list(parts.autoencoder.parameters()) for parts in (first, second)]
    assert all(torch.equal(one, two) for one, two in zip(*vaes, strict=True))
    unets = [list(parts.denoiser.unet.parameters()) for parts in (first, second)]
    assert not all(torch.equal(one, two) for one, two in zip(*unets, strict=True))
    factors = {parts.autoencoder.config.scaling_factor for parts in (first, second)}
    assert len(factors) == 1
    assert factors != {diffusers.AutoencoderKL().config.scaling_factor}


def test_saves_a_folder_that_anybody_can_load(tmp_path: Path) -> None:
    """The folder is in bf16, readable by everyone, loads as usual, and holds the same weights."""
    torch.manual_seed(2)
    parts = make_parts()
    save(parts.to_pipeline(), tmp_path / "folder")
    save(parts.to_pipeline(), tmp_path / "folder")

    pipeline = diffusers.StableDiffusionPipeline.from_pretrained(
        tmp_path / "folder", safety_checker=None
    )
    files = [path for path in (tmp_path / "folder").rglob("*") if path.is_file()]
    weights = parts.denoiser.unet.state_dict()
    assert all(path.stat().st_mode & stat.S_IROTH for path in files)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]
    assert parts.denoiser.unet.dtype == torch.float32
    for name, value in pipeline.unet.state_dict().items():
        assert torch.equal(value.bfloat16(), weights[name].bfloat16())
