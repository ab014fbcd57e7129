"""Schedule: one picture's own way from noise to picture, on a diffusers scheduler of its own.

Knows no network and no other picture. Every random number comes from the picture's generator, in
the order in which diffusers' own pipelines draw them.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
from diffusers.schedulers.scheduling_utils import SchedulerMixin
from torch import Tensor

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.diffusion.request import PictureRequest
from torchloom_models.diffusion.scheduler_table import SCHEDULERS
from torchloom_models.weights import read_json


#: What schedulers raise for configurations that they cannot do.
_ERRORS = (
    ValueError,
    TypeError,
    NotImplementedError,
    ImportError,
    RuntimeError,
    LookupError,
    AttributeError,
)

#: Steps of a trial: enough for a multistep scheduler to look back.
_TRIAL_STEPS = 3


class SchedulerMaker:
    """Makes a fresh scheduler for each picture from what the folder says, under any class."""

    def __init__(self, folder: Path) -> None:
        self._config = dict(read_json(folder / "scheduler_config.json"))
        self._class_name = str(self._config.get("_class_name"))
        self._folder = folder
        self._tried: set[str | None] = set()
        self.make(None)

    def make(self, name: str | None) -> SchedulerMixin:
        """Give a scheduler: the folder's own, or one of SCHEDULERS.

        Each is tried before its first picture: one that raised in the middle of a step would take
        the other pictures' step with it. Raises InvalidInput for a name, and ModelLoadError for the
        folder's own.
        """
        class_name, options = self._class_name, {}
        if name is not None:
            class_name, options = SCHEDULERS[name].class_name, dict(SCHEDULERS[name].options)
        of = getattr(diffusers, class_name, None)
        if not isinstance(of, type) or not issubclass(of, SchedulerMixin):
            message = f"The scheduler in {str(self._folder)!r} names no scheduler: {class_name!r}."
            raise ModelLoadError(message)
        try:
            if name not in self._tried:
                _try(cast("Any", of).from_config(self._config, **options))
                self._tried.add(name)
            return cast("SchedulerMixin", cast("Any", of).from_config(self._config, **options))
        except _ERRORS as error:
            if name is not None:
                message = f"The scheduler {name!r} cannot be used with this model: {error}"
                raise InvalidInput(message) from error
            message = f"The scheduler in {str(self._folder)!r} cannot be made: {error}"
            raise ModelLoadError(message) from error


class Schedule:
    """The timesteps of one picture and how far it is.

    Latents are [1, channels, height, width]. `options` are what the family adds to set_timesteps.
    Raises InvalidInput for numbers of steps that the scheduler cannot do.
    """

    def __init__(
        self,
        scheduler: SchedulerMixin,
        request: PictureRequest,
        generator: torch.Generator,
        options: Mapping[str, object],
    ) -> None:
        self._scheduler = cast("Any", scheduler)
        self._is_fresh = request.image is None or (
            request.mask is not None and request.strength == 1.0
        )
        begin = _first_step(request) * int(getattr(scheduler, "order", 1))
        try:
            self._scheduler.set_timesteps(device="cpu", **_steps(scheduler, request, options))
        except (ValueError, TypeError, IndexError, ZeroDivisionError) as error:
            name = type(scheduler).__name__
            message = f"'num_steps' is {request.num_steps}, which {name} cannot do: {error}"
            raise InvalidInput(message) from error
        if hasattr(scheduler, "set_begin_index"):
            scheduler.set_begin_index(begin)
        self._timesteps: Tensor = self._scheduler.timesteps[begin:]
        self._index = 0
        # diffusers' pipelines set eta to 0 as well, whatever a scheduler takes it for.
        known = inspect.signature(self._scheduler.step).parameters
        values = {"generator": generator, "eta": 0.0}
        self._options = {name: value for name, value in values.items() if name in known}

    @property
    def num_steps(self) -> int:
        """How many times the network is asked; some schedulers ask twice a step."""
        return len(self._timesteps)

    @property
    def index(self) -> int:
        """How many of them are done."""
        return self._index

    @property
    def is_done(self) -> bool:
        """Whether the latents are a picture's."""
        return self._index >= len(self._timesteps)

    @property
    def timestep(self) -> float:
        """Give the timestep that the network is asked for next."""
        return float(self._timesteps[self._index])

    def start(self, noise: Tensor, image: Tensor | None) -> Tensor:
        """Give the latents to begin with: noise, over the image's latents where there are any."""
        if image is not None and not self._is_fresh:
            return self.noised(image, noise)
        return noise * getattr(self._scheduler, "init_noise_sigma", 1.0)

    def noised(self, image: Tensor, noise: Tensor) -> Tensor:
        """Give the image's latents as noisy as the next step expects them."""
        timestep = self._timesteps[self._index : self._index + 1]
        return cast("Tensor", self._scheduler.add_noise(image, noise, timestep))

    def scaled(self, latents: Tensor) -> Tensor:
        """Give the latents as the network takes them. Call once before each step."""
        if not hasattr(self._scheduler, "scale_model_input"):
            return latents
        timestep = self._timesteps[self._index]
        return cast("Tensor", self._scheduler.scale_model_input(latents, timestep))

    def estimate(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """Say where it would end if the network were right at once: latents without noise.

        Every scheduler shows the network latents that keep their variance, or a straight mix.
        """
        shown, timestep = self.scaled(latents), self.timestep
        if not hasattr(self._scheduler, "alphas_cumprod"):
            noise_level = timestep / float(self._scheduler.config.num_train_timesteps)
            return shown - noise_level * prediction
        kept = _between(self._scheduler.alphas_cumprod, timestep)
        signal, noise = kept.sqrt(), (1 - kept).sqrt()
        match self._scheduler.config.prediction_type:
            case "sample":
                return prediction
            case "v_prediction":
                return signal * shown - noise * prediction
            case _:
                return (shown - noise * prediction) / signal

    def step(self, prediction: Tensor, latents: Tensor) -> Tensor:
        """Take what the network said of `latents` and give the next ones."""
        timestep = self._timesteps[self._index]
        output = self._scheduler.step(prediction, timestep, latents, **self._options)
        self._index += 1
        return cast("Tensor", output.prev_sample)


def _try(scheduler: Any) -> None:
    """Take a few steps on latents of nothing."""
    scheduler.set_timesteps(_TRIAL_STEPS, **({"mu": 1.0} if _is_shifted(scheduler) else {}))
    latents = torch.zeros(1, 1, 2, 2)
    for timestep in scheduler.timesteps:
        if hasattr(scheduler, "scale_model_input"):
            scheduler.scale_model_input(latents, timestep)
        latents = scheduler.step(torch.zeros_like(latents), timestep, latents).prev_sample


def _first_step(request: PictureRequest) -> int:
    """Say how many steps an image saves. Raises InvalidInput where that is all of them."""
    if request.image is None:
        return 0
    num_left = min(int(request.num_steps * request.strength), request.num_steps)
    if num_left < 1:
        message = (
            f"A 'strength' of {request.strength:g} leaves none of {request.num_steps} steps. Raise "
            "one of them."
        )
        raise InvalidInput(message)
    return request.num_steps - num_left


def _steps(
    scheduler: SchedulerMixin, request: PictureRequest, options: Mapping[str, object]
) -> dict[str, object]:
    """Give set_timesteps what it knows of the family's options, and the number of steps."""
    known = inspect.signature(cast("Any", scheduler).set_timesteps).parameters
    return {
        "num_inference_steps": request.num_steps,
        **{
            name: value
            for name, value in options.items()
            if name in known and (name != "mu" or _is_shifted(scheduler))
        },
    }


def _is_shifted(scheduler: SchedulerMixin) -> bool:
    """Say whether a scheduler shifts its steps by the picture's size; some refuse to be told it."""
    return bool(getattr(cast("Any", scheduler).config, "use_dynamic_shifting", False))


def _between(values: Tensor, place: float) -> Tensor:
    """Give the value at a place that may lie between two: some schedulers have such timesteps."""
    lower = min(max(int(place), 0), len(values) - 1)
    upper = min(lower + 1, len(values) - 1)
    return torch.lerp(values[lower], values[upper], place - lower)
