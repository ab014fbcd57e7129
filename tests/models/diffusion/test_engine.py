"""DiffusionEngine: equal to diffusers, picture by picture, whatever else goes on."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from tiny_pipeline import (
    drain,
    draw,
    ends,
    load_reference,
    open_tiny,
    pixels_of,
)

from torchloom.engine import Failure, Result, Work
from torchloom.errors import TaskFailed
from torchloom_models.diffusion.engine import DiffusionEngine
from torchloom_models.diffusion.picture import Picture


#: Each differs from the others in everything that a picture has of its own.
REQUESTS: list[dict[str, object]] = [
    {"prompt": "a red circle", "seed": 1, "num_steps": 7, "guidance": 7.5},
    {"prompt": "a blue square on white ground", "seed": 2, "num_steps": 4, "guidance": 1.0},
    {"prompt": "green", "seed": 3, "num_steps": 5, "scheduler": "euler_a", "guidance": 3},
    {"prompt": "a square", "seed": 4, "num_steps": 6, "width": 32, "height": 16},
    {
        "prompt": "a circle left of a square",
        "negative_prompt": "red",
        "seed": 5,
        "num_steps": 3,
        "scheduler": "dpm++",
        "guidance": 12.0,
    },
]


@pytest.fixture
def engine(stable_diffusion: Path) -> DiffusionEngine:
    """Give an engine on the tiny Stable Diffusion."""
    return open_tiny(stable_diffusion)


def expected(folder: Path, **options: object) -> NDArray[np.int16]:
    """Give the pixels that diffusers' own pipeline draws."""
    seed = options.pop("seed")
    assert isinstance(seed, int)
    pipeline = load_reference(folder)
    generator = torch.Generator().manual_seed(seed)
    output = pipeline(**options, generator=generator, output_type="np")
    return (output.images[0] * 255).round().astype(np.int16)


def spoil(picture: Picture) -> None:
    """Put one NaN into the latents."""
    assert picture.latents is not None
    latents = picture.latents.clone()
    latents[0, 0, 0, 0] = float("nan")
    picture.latents = latents


@pytest.mark.slow
@pytest.mark.parametrize("guidance", [7.5, 1.0, 0.0])
def test_draws_what_diffusers_draws(stable_diffusion: Path, guidance: float) -> None:
    """A picture is that of diffusers' own pipeline for the same seed, with and without guidance."""
    result = draw(
        open_tiny(stable_diffusion), prompt="a red circle", seed=3, num_steps=6, guidance=guidance
    )

    wanted = expected(
        stable_diffusion,
        prompt="a red circle",
        seed=3,
        num_inference_steps=6,
        guidance_scale=guidance,
    )
    assert np.abs(pixels_of(result) - wanted).max() <= 1
    assert wanted.std() > 20, "a picture of one shade proves nothing"


@pytest.mark.slow
def test_draws_around_a_negative_prompt_and_in_another_size(stable_diffusion: Path) -> None:
    """The negative prompt and both sides of the picture count as they do in diffusers."""
    inputs: dict[str, object] = {
        "prompt": "a blue square",
        "negative_prompt": "red circle",
        "width": 24,
        "height": 16,
        "seed": 8,
    }
    result = draw(open_tiny(stable_diffusion), **inputs, num_steps=4, guidance=5)

    wanted = expected(stable_diffusion, **inputs, num_inference_steps=4, guidance_scale=5)
    assert pixels_of(result).shape == (16, 24, 3)
    assert np.abs(pixels_of(result) - wanted).max() <= 1


@pytest.mark.slow
def test_draws_the_same_picture_alone_and_beside_others(engine: DiffusionEngine) -> None:
    """Pictures that join and leave, at other steps, sizes and schedulers, change nothing."""
    alone = [pixels_of(draw(engine, **request)) for request in REQUESTS]

    events = []
    for number, request in enumerate(REQUESTS):
        engine.admit(Work(number, request))
        events += engine.step()
    results = ends(events + drain(engine))

    for number, wanted in enumerate(alone):
        assert np.abs(pixels_of(results[number]) - wanted).max() <= 1, REQUESTS[number]


def test_gives_the_picture_its_seed_and_its_steps(engine: DiffusionEngine) -> None:
    """A result holds a PNG and the seed; its count is how often the network was asked."""
    result = draw(engine, seed=11, num_steps=2)

    assert result.outputs["seed"] == 11
    assert result.counts == {"steps": 2}
    assert pixels_of(result).shape == (16, 16, 3)


def test_draws_a_seed_where_none_is_given(engine: DiffusionEngine) -> None:
    """Without a seed every picture is another, and says which seed gives it again."""
    first, second = draw(engine, num_steps=1), draw(engine, num_steps=1)

    assert first.outputs["seed"] != second.outputs["seed"]
    again = draw(engine, num_steps=1, seed=first.outputs["seed"])
    assert again.outputs["image"] == first.outputs["image"]


def test_asks_the_network_once_a_step_for_all_of_a_size(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three pictures of one size and one of another are two calls; guidance takes a second row."""
    rows = []
    run = engine._runner._denoiser.tensor

    def tensor(*arguments: torch.Tensor) -> torch.Tensor:
        rows.append(len(arguments[0]))
        return run(*arguments)

    monkeypatch.setattr(engine._runner._denoiser, "tensor", tensor)
    for number, guidance in enumerate([7.5, 1.0, 3.0]):
        inputs = {"prompt": "red", "num_steps": 2, "guidance": guidance}
        engine.admit(Work(number, inputs))
    engine.admit(Work(3, {"prompt": "red", "num_steps": 2, "width": 32}))
    engine.step()

    assert rows == [5, 2]


def test_takes_new_pictures_between_steps(engine: DiffusionEngine) -> None:
    """A short picture that comes late is done before a long one that came first."""
    engine.admit(Work(1, {"prompt": "red", "num_steps": 6}))
    assert engine.step() == []
    engine.admit(Work(2, {"prompt": "blue", "num_steps": 2}))

    order = [event.task_id for event in drain(engine)]

    assert order == [2, 1]


def test_frees_the_place_of_a_cancelled_picture(engine: DiffusionEngine) -> None:
    """A cancelled picture is not drawn on, before its first step or after; others go on."""
    for number in range(3):
        engine.admit(Work(number, {"prompt": "red", "num_steps": 3}))
    engine.cancel(0)
    engine.step()
    engine.cancel(1)
    engine.cancel(99)

    assert set(ends(drain(engine))) == {2}
    assert engine.is_idle


def test_fails_a_picture_alone_when_its_latents_are_no_numbers(engine: DiffusionEngine) -> None:
    """NaN in one picture is that picture's failure; the one beside it is what it would be."""
    wanted = draw(engine, seed=5, num_steps=3).outputs["image"]
    engine.admit(Work(1, {"prompt": "a red circle", "seed": 5, "num_steps": 3}))
    engine.admit(Work(2, {"prompt": "a red circle", "seed": 6, "num_steps": 3}))
    engine.step()
    spoil(engine._pictures[2])

    results = ends(drain(engine))

    failure, result = results[2], results[1]
    assert isinstance(failure, Failure)
    assert isinstance(failure.error, TaskFailed)
    assert "step 2 of 3" in failure.error.message
    assert isinstance(result, Result)
    assert np.abs(pixels_of(result) - pixels_of(Result(0, {"image": wanted}))).max() <= 1


def test_has_room_for_as_many_pictures_as_the_model_file_says(stable_diffusion: Path) -> None:
    """`max_pictures` or `batching.max_size` bound how many are drawn at once."""
    room = open_tiny(stable_diffusion, max_pictures=3, warmup=False).room()
    assert (room.max_tasks, room.is_continuous) == (3, True)
    assert open_tiny(stable_diffusion, max_size=5, warmup=False).room().max_tasks == 5


def test_says_what_it_draws(engine: DiffusionEngine) -> None:
    """Its repr names the device and each picture's step."""
    engine.admit(Work(4, {"prompt": "red", "num_steps": 3}))
    engine.step()

    assert repr(engine) == "<DiffusionEngine on cpu: [<Picture 4: 16 x 16, step 1 of 3>]>"
