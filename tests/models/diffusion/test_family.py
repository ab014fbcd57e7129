"""Families: each layout draws what its own pipeline of diffusers draws, alone and beside others."""

from __future__ import annotations

import importlib
from pathlib import Path

import diffusers
import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_pipeline import (
    LAYOUTS,
    LENGTH,
    drain,
    draw,
    ends,
    load_reference,
    open_on_openvino,
    open_tiny,
    pixels_of,
    save_pipeline,
)

from torchloom.engine import Work
from torchloom_models.diffusion.engine import DiffusionEngine
from torchloom_models.diffusion.family import FAMILIES


#: Layouts that follow a negative prompt.
NEGATIVE = {
    "stable_diffusion",
    "stable_diffusion_xl",
    "stable_diffusion_3",
    "stable_diffusion_3_without_t5",
}


def requests_for(layout: str) -> list[dict[str, object]]:
    """Give requests that differ in everything that a picture of the layout has of its own."""
    common: dict[str, object] = {"width": 16, "height": 16}
    requests = [
        {"prompt": "a red circle", "seed": 1, "num_steps": 4, "guidance": 4.0},
        {"prompt": "a blue square", "seed": 2, "num_steps": 2, "guidance": 1.0},
        {"prompt": "green", "seed": 3, "num_steps": 5, "guidance": 2.5, "width": 24},
    ]
    if layout in NEGATIVE:
        requests[0]["negative_prompt"] = "green square"
    return [{**common, **request} for request in requests]


def expected(folder: Path, layout: str, request: dict[str, object]) -> NDArray[np.int16]:
    """Give the pixels that diffusers' own pipeline draws."""
    # diffusers wants to be told that a part was left out.
    parts = {"text_encoder_3": None, "tokenizer_3": None} if layout.endswith("t5") else {}
    pipeline = load_reference(folder, **parts)
    options = dict(request)
    generator = torch.Generator().manual_seed(options.pop("seed"))  # type: ignore[arg-type]  # an int
    options["num_inference_steps"] = options.pop("num_steps")
    options["guidance_scale"] = options.pop("guidance")
    if layout.startswith(("flux", "stable_diffusion_3")):
        options["max_sequence_length"] = 256 if layout.endswith("without_t5") else LENGTH
    output = pipeline(**options, generator=generator, output_type="np")
    return (output.images[0] * 255).round().astype(np.int16)


def draw_together(
    engine: DiffusionEngine, requests: list[dict[str, object]]
) -> list[NDArray[np.int16]]:
    """Give the pixels of pictures that join one after another, a step apart."""
    events = []
    for number, request in enumerate(requests):
        engine.admit(Work(number, request))
        events += engine.step()
    found = ends(events + drain(engine))
    return [pixels_of(found[number]) for number in range(len(requests))]


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_draws_what_diffusers_draws_in_any_mix(layout: str, tmp_path: Path) -> None:
    """Pictures that share calls are, each for itself, those of diffusers' pipeline."""
    folder = save_pipeline(tmp_path, layout)
    # Flux would warm up with pictures of its own size.
    engine: DiffusionEngine = open_tiny(folder, max_pixels=24 * 16)
    requests = requests_for(layout)
    wanted = [expected(folder, layout, request) for request in requests]

    alone = [draw(engine, **request) for request in requests]
    mixed = draw_together(engine, requests)

    for number, pixels in enumerate(wanted):
        assert pixels.std() > 5, "a picture of one shade proves nothing"
        assert np.abs(pixels_of(alone[number]) - pixels).max() <= 1, requests[number]
        assert np.abs(mixed[number] - pixels).max() <= 1, requests[number]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("layout", "num_requests"),
    [
        ("stable_diffusion", 3),  # two of one size, and one of another: code of its own
        ("stable_diffusion_xl", 2),
        ("stable_diffusion_3", 2),
        ("flux", 2),
    ],
)
def test_draws_the_same_by_openvino(
    layout: str, num_requests: int, openvino_code: Path, tmp_path: Path
) -> None:
    """Its code, made or found, draws the CPU's pictures within two shades, alone and in any mix."""
    pytest.importorskip("openvino")
    folder, code = save_pipeline(tmp_path / "model", layout), str(openvino_code)
    requests = requests_for(layout)[:num_requests]
    plain = open_tiny(folder, max_pixels=24 * 16, dtype="float32")
    wanted = draw_together(plain, requests)

    for _ in ("made", "found"):
        engine = open_on_openvino(folder, max_pixels=24 * 16, artefacts=code)
        for found in (draw_together(engine, requests), [draw_together(engine, requests[:1])[0]]):
            for pixels, expected_pixels in zip(found, wanted, strict=False):
                assert expected_pixels.std() > 5, "a picture of one shade proves nothing"
                assert np.abs(pixels - expected_pixels).max() <= 2
        engine.close()


@pytest.mark.slow
@pytest.mark.parametrize("layout", LAYOUTS)
def test_shows_previews(layout: str, tmp_path: Path) -> None:
    """Every family's latents can be shown on the way."""
    engine = open_tiny(save_pipeline(tmp_path, layout), max_pixels=16 * 16)
    engine.admit(
        Work(1, {"prompt": "red", "num_steps": 3, "width": 16, "height": 16, "preview_every": 1})
    )

    first, second, _ = drain(engine)

    assert pixels_of(first).shape == pixels_of(second).shape == (8, 8, 3)


@pytest.mark.parametrize("pipeline", FAMILIES)
def test_names_classes_that_there_are(pipeline: str) -> None:
    """Pipelines are diffusers' own, and families can be imported."""
    module, _, name = FAMILIES[pipeline].partition(":")

    assert hasattr(diffusers, pipeline)
    assert hasattr(importlib.import_module(module), name)


@pytest.mark.slow
def test_guides_a_distilled_network_by_a_number(tmp_path: Path) -> None:
    """LCM takes one row whatever the guidance, and the guidance still counts."""
    engine = open_tiny(save_pipeline(tmp_path, "lcm"))

    low, high = draw(engine, seed=1, guidance=1.0), draw(engine, seed=1, guidance=12.0)

    assert low.counts == {"steps": 4}
    assert np.abs(pixels_of(low) - pixels_of(high)).max() > 1
