"""Pictures from pictures: image-to-image and inpainting equal diffusers' own pipelines."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import (
    DiffusionPipeline,
    StableDiffusionImg2ImgPipeline,
    StableDiffusionInpaintPipeline,
    StableDiffusionXLImg2ImgPipeline,
    StableDiffusionXLInpaintPipeline,
)
from numpy.typing import NDArray
from tiny_pipeline import (
    drain,
    draw,
    ends,
    half_mask,
    load_reference,
    open_tiny,
    photo,
    pixels_of,
    png_of,
    save_filler,
)

from torchloom.engine import Result, Work
from torchloom.errors import InvalidInput
from torchloom_models.diffusion.schedule import SchedulerMaker


pytestmark = pytest.mark.slow

#: By layout: diffusers' pipeline that starts from an image, and the one that fills a mask.
PIPELINES: dict[str, tuple[type[DiffusionPipeline], type[DiffusionPipeline]]] = {
    "stable_diffusion": (StableDiffusionImg2ImgPipeline, StableDiffusionInpaintPipeline),
    "stable_diffusion_xl": (StableDiffusionXLImg2ImgPipeline, StableDiffusionXLInpaintPipeline),
}

PROMPT = "a red circle"


@pytest.fixture(params=PIPELINES)
def layout(request: pytest.FixtureRequest) -> str:
    """Give each layout that starts from pictures."""
    return str(request.param)


@pytest.fixture
def folder(layout: str, request: pytest.FixtureRequest) -> Path:
    """Give the layout's folder."""
    folder = request.getfixturevalue(layout)
    assert isinstance(folder, Path)
    return folder


def drawn(folder: Path, **inputs: object) -> Result:
    """Draw from the photo with seed 5 in ten steps."""
    common = {"prompt": PROMPT, "image": png_of(photo()), "seed": 5, "num_steps": 10, "guidance": 4}
    return draw(open_tiny(folder), **common, **inputs)


def reference(
    folder: Path, of: type[DiffusionPipeline], *, scheduler: str, **options: object
) -> NDArray[np.int16]:
    """Give the pixels that a pipeline of diffusers draws from the photo, likewise."""
    pipeline = load_reference(folder, of)
    pipeline.scheduler = SchedulerMaker(folder / "scheduler").make(scheduler)
    output = pipeline(
        PROMPT,
        image=photo(),
        **options,
        num_inference_steps=10,
        guidance_scale=4.0,
        generator=torch.Generator().manual_seed(5),
        output_type="np",
    )
    return (output.images[0] * 255).round().astype(np.int16)


def check_filling(
    folder: Path, of: type[DiffusionPipeline], *, strength: float, scheduler: str
) -> None:
    """Compare what is drawn into half of the photo."""
    result = drawn(folder, mask=png_of(half_mask()), strength=strength, scheduler=scheduler)
    wanted = reference(
        folder,
        of,
        mask_image=half_mask(),
        width=16,
        height=16,
        strength=strength,
        scheduler=scheduler,
    )
    assert np.abs(pixels_of(result) - wanted).max() <= 1


@pytest.mark.parametrize("scheduler", ["ddim", "euler", "euler_a"])
@pytest.mark.parametrize("strength", [0.3, 0.75, 1.0])
def test_starts_from_an_image(layout: str, folder: Path, strength: float, scheduler: str) -> None:
    """The picture is that of diffusers' image-to-image, whatever the strength and scheduler."""
    result = drawn(folder, strength=strength, scheduler=scheduler)

    wanted = reference(folder, PIPELINES[layout][0], strength=strength, scheduler=scheduler)
    assert np.abs(pixels_of(result) - wanted).max() <= 1
    assert result.counts["steps"] == int(10 * strength)


@pytest.mark.parametrize("scheduler", ["ddim", "euler"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_fills_a_mask(layout: str, folder: Path, strength: float, scheduler: str) -> None:
    """The picture is that of diffusers' inpainting: the black part of the mask stays."""
    check_filling(folder, PIPELINES[layout][1], strength=strength, scheduler=scheduler)


def test_draws_beside_pictures_from_nothing(folder: Path) -> None:
    """Pictures from prompts, images and masks share the calls, and are what they are alone."""
    engine = open_tiny(folder)
    image, mask = png_of(photo()), png_of(half_mask())
    requests: list[dict[str, object]] = [
        {"prompt": "red", "seed": 1, "num_steps": 4},
        {"prompt": "blue", "seed": 2, "num_steps": 8, "image": image, "strength": 0.5},
        {"prompt": "green", "seed": 3, "num_steps": 5, "image": image, "mask": mask},
    ]
    alone = [pixels_of(draw(engine, **request)) for request in requests]
    for number, request in enumerate(requests):
        engine.admit(Work(number, request))
        engine.step()

    results = ends(drain(engine))

    for number, wanted in enumerate(alone):
        assert np.abs(pixels_of(results[number]) - wanted).max() <= 1


def test_resizes_what_it_is_given(folder: Path) -> None:
    """An image and a mask of any size come to the size of the picture."""
    result = draw(
        open_tiny(folder),
        image=png_of(photo(50, 70)),
        mask=png_of(half_mask(9, 9)),
        width=24,
        height=16,
        num_steps=2,
    )

    assert pixels_of(result).shape == (16, 24, 3)


@pytest.mark.parametrize("scheduler", ["ddim", "euler_a"])
@pytest.mark.parametrize("strength", [0.5, 1.0])
def test_fills_a_mask_with_a_network_made_for_it(
    tmp_path: Path, strength: float, scheduler: str
) -> None:
    """A UNet that sees mask and image beside the latents draws what diffusers' inpainting does."""
    folder = save_filler(tmp_path)
    check_filling(folder, StableDiffusionInpaintPipeline, strength=strength, scheduler=scheduler)


def test_refuses_to_draw_without_the_mask_that_it_fills(tmp_path: Path) -> None:
    """A network made for masks draws nothing else, and says so."""
    engine = open_tiny(save_filler(tmp_path))

    for inputs in ({}, {"image": png_of(photo())}, {"mask": png_of(half_mask())}):
        with pytest.raises(InvalidInput, match="give 'image' and 'mask'"):
            engine.admit(Work(1, {"prompt": "red", **inputs}))
