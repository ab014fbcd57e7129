"""Schedule: each picture's own steps, and where they lead."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from tiny_pipeline import edit_json, make_ddim

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.schedule import Schedule, SchedulerMaker
from torchloom_models.diffusion.scheduler_table import SCHEDULERS


DIFFUSION = sorted(name for name, entry in SCHEDULERS.items() if entry.noise == "diffusion")

#: Those that say themselves where a step leads.
TELLING = ["ddim", "ddpm", "euler"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with the configuration of a scheduler."""
    make_ddim().save_pretrained(tmp_path)
    return tmp_path


def request(**values: object) -> PictureRequest:
    """Give a request of four steps."""
    defaults: dict[str, object] = {
        "prompt": "red",
        "seed": 0,
        "num_steps": 4,
        "guidance": 1.0,
        "width": 16,
        "height": 16,
    }
    return PictureRequest(**{**defaults, **values})  # type: ignore[arg-type]  # as the test says


def schedule_of(scheduler: SchedulerMixin, **values: object) -> Schedule:
    """Give a schedule whose generator has a seed."""
    return Schedule(scheduler, request(**values), torch.Generator().manual_seed(0), {})


@pytest.mark.parametrize("name", DIFFUSION)
@pytest.mark.parametrize("num_steps", [1, 2, 5])
def test_comes_to_an_end_with_every_scheduler(folder: Path, name: str, num_steps: int) -> None:
    """Every name works with few steps, and gives numbers."""
    schedule = schedule_of(SchedulerMaker(folder).make(name), num_steps=num_steps)
    latents = schedule.start(torch.ones(1, 4, 2, 2), None)

    while not schedule.is_done:
        shown = schedule.scaled(latents)
        latents = schedule.step(shown * 0.1, latents)

    assert latents.isfinite().all()
    assert schedule.index == schedule.num_steps >= num_steps


@pytest.mark.parametrize("prediction_type", ["epsilon", "v_prediction", "sample"])
@pytest.mark.parametrize("name", TELLING)
def test_estimates_where_it_leads(folder: Path, name: str, prediction_type: str) -> None:
    """The estimate is what schedulers that tell it call the predicted original sample."""
    edit_json(folder / "scheduler_config.json", prediction_type=prediction_type)
    schedule = schedule_of(SchedulerMaker(folder).make(name))
    generator = torch.Generator().manual_seed(1)
    latents = schedule.start(torch.randn(1, 4, 2, 2, generator=generator), None)
    prediction = torch.randn(1, 4, 2, 2, generator=generator)
    schedule.scaled(latents)
    latents = schedule.step(prediction, latents)

    estimate = schedule.estimate(prediction, latents)

    scheduler = schedule._scheduler
    timestep = scheduler.timesteps[1]
    told = scheduler.step(prediction, timestep, latents).pred_original_sample
    assert torch.allclose(estimate, told, rtol=1e-3, atol=1e-4)


def test_estimates_where_a_flow_leads() -> None:
    """A flow is straight: the rest of the way is the prediction times the noise that is left."""
    schedule = schedule_of(FlowMatchEulerDiscreteScheduler())
    noise, goal = torch.full((1, 4, 2, 2), 3.0), torch.full((1, 4, 2, 2), -1.0)
    latents = schedule.step(noise - goal, schedule.start(noise, None))

    assert torch.allclose(schedule.estimate(noise - goal, latents), goal, atol=1e-5)


def test_leaves_out_the_steps_that_an_image_saves() -> None:
    """Half a strength is the second half of the steps."""
    whole = schedule_of(make_ddim())
    half = schedule_of(make_ddim(), image=object(), strength=0.5)

    assert (whole.num_steps, half.num_steps) == (4, 2)
    assert half.timestep == float(whole._timesteps[2])


def test_refuses_a_strength_that_leaves_no_step() -> None:
    """With figures: nothing would be drawn."""
    with pytest.raises(InvalidInput, match=r"'strength' of 0.1 leaves none of 4 steps"):
        schedule_of(make_ddim(), image=object(), strength=0.1)


def test_refuses_more_steps_than_the_scheduler_can_do() -> None:
    """A scheduler may know fewer steps than the model file allows."""
    with pytest.raises(InvalidInput, match="'num_steps' is 2000, which DDIMScheduler cannot do"):
        schedule_of(make_ddim(), num_steps=2000)


def test_makes_the_folders_own_scheduler_and_others_from_its_configuration(folder: Path) -> None:
    """Another class keeps the noise that the network was trained with."""
    maker = SchedulerMaker(folder)

    assert isinstance(maker.make(None), DDIMScheduler)
    other = maker.make("dpm++_sde")
    assert type(other).__name__ == "DPMSolverMultistepScheduler"
    assert other.config["beta_end"] == 0.012
    assert other.config["algorithm_type"] == "sde-dpmsolver++"
    assert maker.make(None) is not maker.make(None)


def test_tries_a_scheduler_before_it_joins_others(folder: Path) -> None:
    """A scheduler that cannot do what the network was trained for is refused before any step."""
    edit_json(folder / "scheduler_config.json", prediction_type="sample")
    maker = SchedulerMaker(folder)

    assert maker.make("euler") is not None
    for _ in range(2):
        with pytest.raises(InvalidInput, match="'euler_a' cannot be used with this model"):
            maker.make("euler_a")


def test_says_what_is_wrong_with_a_scheduler(folder: Path) -> None:
    """An unknown class, one that is no scheduler, a broken configuration, and none at all."""
    config = folder / "scheduler_config.json"
    for name in ("NoSuchScheduler", "AutoencoderKL", "os"):
        edit_json(config, _class_name=name)
        with pytest.raises(ModelLoadError, match=f"names no scheduler: '{name}'"):
            SchedulerMaker(folder)
    edit_json(config, _class_name="DDIMScheduler", beta_schedule="nonsense")
    with pytest.raises(ModelLoadError, match="cannot be made"):
        SchedulerMaker(folder)
    config.unlink()
    with pytest.raises(ModelLoadError, match=r"scheduler_config\.json"):
        SchedulerMaker(folder)
