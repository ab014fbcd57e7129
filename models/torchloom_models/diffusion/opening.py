"""Opens an engine of the kind `diffusion`: finds the parts, sizes them, compiles and warms up."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import cast

import numpy as np
import torch

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Engine, Work
from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.backend import WeightFormat
from torchloom_models.compile import CompileSettings
from torchloom_models.diffusion.engine import DiffusionEngine, ScheduleMaker
from torchloom_models.diffusion.family import Family, load_family
from torchloom_models.diffusion.folder import PipelineFolder
from torchloom_models.diffusion.network import NetworkMaker
from torchloom_models.diffusion.picture import Picture
from torchloom_models.diffusion.picture_file import write_png
from torchloom_models.diffusion.preview import Previewer
from torchloom_models.diffusion.request import Limits, PictureRequest, RequestReader
from torchloom_models.diffusion.runner import Runner
from torchloom_models.diffusion.schedule import Schedule, SchedulerMaker
from torchloom_models.diffusion.start import Starter
from torchloom_models.diffusion.text import TextEncoder
from torchloom_models.diffusion.vae import VaeDecoder, VaeEncoder
from torchloom_models.loss import shade_loss
from torchloom_models.opening import Opening
from torchloom_models.packed_linear import pack_linears
from torchloom_models.recipe import Recipe
from torchloom_models.source import resolve_source


#: What a picture is asked for with.
Inputs = Mapping[str, object]

#: How many pictures an engine draws at once where the model file does not say.
_MAX_PICTURES = 8

#: The most pixels of a picture, in pictures of the model's own size.
_MAX_AREA = 4

_MAX_STEPS = 150

#: Denoising steps of a picture where the fastest device is looked for.
_TRIAL_STEPS = 2


def open_engine(config: Mapping[str, object], device: Device, report: Report) -> DiffusionEngine:
    """Open an engine; on `auto`, on whichever device draws the fastest.

    `config` holds what a model file says, and where compiled code is kept. Raises ModelLoadError,
    InvalidModel or DeviceUnavailable.
    """
    return DiffusionOpening(config, report).open(device)


class DiffusionOpening(Opening[DiffusionEngine]):
    """What is read once of a pipeline's folder."""

    timed_by = ("dtype", "compile", "weights", "params")

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        super().__init__(config, report)
        self._folder = PipelineFolder(resolve_source(str(config["source"]), report))
        self._trial: Inputs = {}

    @property
    def _model(self) -> str:
        return self._folder.digest

    def _works(self) -> list[Work]:
        return [Work(0, {})]

    def _measure(self, engine: Engine, works: Sequence[Work]) -> float:
        """Give the seconds that an engine takes for a few steps of as many typical pictures."""
        return super()._measure(engine, [Work(work.task_id, self._trial) for work in works])

    def _open_at(self, label: str, place: str) -> DiffusionEngine:
        config, report = self._config, self._report
        report("loading the weights", None)
        family = load_family(self._folder, dtype_name=self._dtype, place=place)
        self._settle(family.dtype)
        if label == "cpu":
            for network in (family.denoiser, family.vae, *(each.encoder for each in family.towers)):
                pack_linears(network)
        recipe = self._recipe(label, str(family.dtype))
        runner = self._runner(family, recipe, place)
        limits = _limits(config, family)
        reader = RequestReader(family.traits, limits)
        schedule = partial(_schedule, family, SchedulerMaker(self._folder.path / "scheduler"))
        typical = [
            _inputs(size, fills_masks=family.traits.fills_masks)
            for size in _sizes(recipe.settings, family, limits)
        ]
        self._trial = {**typical[0], "num_steps": min(_TRIAL_STEPS, limits.max_steps)}
        if self._has_warm_up:
            runner.warm_up([_picture(reader, schedule, inputs) for inputs in typical], report)
        eager = replace(recipe, settings=replace(recipe.settings, backend="eager"))
        make_eager = partial(self._runner, family, eager, place)
        make = partial(_picture, reader, schedule)
        return DiffusionEngine(
            reader=reader,
            schedule=schedule,
            runner=runner,
            max_pictures=_max_pictures(config),
            device=label,
            notes=self._losses(partial(self._loss, make_eager, runner, make)),
        )

    def _settings(self, label: str) -> CompileSettings:
        """On a CPU, `auto` is eager: see docs/diffusion.md for what was measured."""
        settings = super()._settings(label).preferring("reduce-overhead")
        if settings.backend == "auto" and label == "cpu":
            return replace(settings, backend="eager")
        return settings

    def _runner(self, family: Family, recipe: Recipe, place: str) -> Runner:
        maker = NetworkMaker(recipe, max_rows=2 * _max_pictures(self._config))
        return _make_runner(family, maker, place)

    def _loss(
        self,
        make_eager: Callable[[], Runner],
        runner: Runner,
        make: Callable[[Inputs], Picture],
        weights: WeightFormat,
    ) -> str:
        """Draw one picture with either."""
        self._report("comparing with full weights", None)
        eager = make_eager()
        full, found = (each.draw(make(self._trial)) for each in (eager, runner))
        eager.close()
        return shade_loss(weights, full, found)


def _max_pictures(config: Mapping[str, object]) -> int:
    return cast("int", config.get("max_pictures") or config.get("max_size") or _MAX_PICTURES)


def _make_runner(family: Family, maker: NetworkMaker, place: str) -> Runner:
    dtype = family.dtype
    encoders = [
        maker.make(tower.encoder, f"text-{number}", dtype, 1)
        for number, tower in enumerate(family.towers, 1)
    ]
    num_arguments = len(inspect.signature(family.denoiser.forward).parameters)
    decoder, encoder = VaeDecoder(family.vae), VaeEncoder(family.vae)
    return Runner(
        family,
        texts=TextEncoder(family.towers, encoders, family.join, device=place),
        denoiser=maker.make(family.denoiser, "denoise", dtype, num_arguments),
        decoder=maker.make(decoder, "decode", decoder.dtype, 1),
        starter=Starter(encoder, family.traits, dtype=dtype, device=place),
        previewer=Previewer.fit(encoder, family.traits.latent_factor, place),
    )


def _limits(config: Mapping[str, object], family: Family) -> Limits:
    traits = family.traits
    area = traits.width * traits.height
    return Limits(
        max_pixels=cast("int", config.get("max_pixels", _MAX_AREA * area)),
        max_steps=cast("int", config.get("max_steps", _MAX_STEPS)),
    )


def _schedule(
    family: Family, maker: SchedulerMaker, request: PictureRequest, generator: torch.Generator
) -> Schedule:
    scheduler = maker.make(request.scheduler)
    return Schedule(scheduler, request, generator, family.schedule_options(request))


def _sizes(settings: CompileSettings, family: Family, limits: Limits) -> list[tuple[int, int]]:
    """List the widths and heights to be ready for: squares of the buckets, or the model's own.

    A model whose own size is beyond its limit gets ready for the largest square that is not.
    """
    if settings.buckets:
        return [(side, side) for side in settings.buckets]
    traits = family.traits
    if traits.width * traits.height <= limits.max_pixels:
        return [(traits.width, traits.height)]
    side = math.isqrt(limits.max_pixels)
    side = max(side - side % traits.size_multiple, traits.size_multiple)
    return [(side, side)]


def _inputs(size: tuple[int, int], *, fills_masks: bool) -> dict[str, object]:
    """Give what is asked for to warm up: a picture of one size, all of it masked if need be."""
    inputs: dict[str, object] = {
        "prompt": "warm-up",
        "seed": 0,
        "width": size[0],
        "height": size[1],
    }
    if fills_masks:
        white = write_png(np.full((*size, 3), 255, np.uint8))
        inputs |= {"image": white, "mask": white}
    return inputs


def _picture(reader: RequestReader, schedule: ScheduleMaker, inputs: Inputs) -> Picture:
    """Make a picture like those that will be asked for. Raises ModelLoadError."""
    try:
        request = reader.read(Work(0, inputs))
        generator = torch.Generator().manual_seed(request.seed)
        return Picture(0, request, schedule(request, generator), generator)
    except InvalidInput as error:
        message = f"The model cannot draw what its own file says: {error.message}"
        raise ModelLoadError(message) from error
