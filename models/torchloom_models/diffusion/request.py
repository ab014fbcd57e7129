"""RequestReader: turns a task's inputs and params into a PictureRequest, or refuses it.

Inputs go before params, name by name. Runs no network.
"""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import cast

from PIL import Image

from torchloom.departure import SchemaCheck
from torchloom.engine import Work
from torchloom.errors import InvalidInput, nearest
from torchloom_models.diffusion.field import INPUTS, KNOBS
from torchloom_models.diffusion.picture_file import read_mask, read_picture
from torchloom_models.diffusion.scheduler_table import SCHEDULERS
from torchloom_models.diffusion.traits import Traits


#: Seeds that are drawn stay below this: whole numbers that every JSON reader knows.
_SEEDS = 2**32

#: How far to go from `image` where a request does not say: with a mask, all the way inside it.
_STRENGTH, _MASKED_STRENGTH = 0.8, 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PictureRequest:
    """One picture as it was asked for, checked and with every default in place.

    `negative_prompt` None means that none was given; `scheduler` None is the model's own. `image`
    is RGB and `mask` grey, both of the size asked for.
    """

    prompt: str
    negative_prompt: str | None = None
    seed: int
    num_steps: int
    guidance: float
    width: int
    height: int
    strength: float = 1.0
    scheduler: str | None = None
    preview_every: int = 0
    image: Image.Image | None = None
    mask: Image.Image | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much one request may ask for."""

    max_pixels: int
    max_steps: int


class RequestReader:
    """Knows what the model can do, and the limits that a request must keep to."""

    def __init__(self, traits: Traits, limits: Limits) -> None:
        self._traits = traits
        self._limits = limits
        self._num_steps = min(traits.num_steps, limits.max_steps)

    def read(self, work: Work) -> PictureRequest:
        """Give the picture that a task asks for. Raises InvalidInput, by name, for a bad one."""
        knobs = _knobs(work)
        prompt = _read_prompt(work.inputs)
        self._check_steps(knobs)
        self._check_scheduler(knobs)
        guidance = float(cast("float", knobs.get("guidance", self._traits.guidance)))
        self._check_negative(knobs, guidance)
        image, mask = self._read_images(work.inputs, knobs)
        width, height = self._read_size(knobs, image)
        strength = _MASKED_STRENGTH if mask is not None else _STRENGTH
        return PictureRequest(
            prompt=prompt,
            negative_prompt=cast("str | None", knobs.get("negative_prompt")),
            seed=int(cast("int", knobs.get("seed", secrets.randbelow(_SEEDS)))),
            num_steps=int(cast("int", knobs.get("num_steps", self._num_steps))),
            guidance=guidance,
            width=width,
            height=height,
            strength=float(cast("float", knobs.get("strength", strength))),
            scheduler=cast("str | None", knobs.get("scheduler")),
            preview_every=int(cast("int", knobs.get("preview_every", 0))),
            image=None if image is None else _resized(image, width, height),
            mask=None if mask is None else _resized(mask, width, height),
        )

    def _check_steps(self, knobs: Mapping[str, object]) -> None:
        num_steps = cast("int", knobs.get("num_steps", self._num_steps))
        if num_steps > self._limits.max_steps:
            message = (
                f"'num_steps' is {num_steps:g}; this model draws a picture in "
                f"{self._limits.max_steps} steps at most (`max_steps` of the model file)."
            )
            raise InvalidInput(message)

    def _check_scheduler(self, knobs: Mapping[str, object]) -> None:
        name = cast("str | None", knobs.get("scheduler"))
        if name is not None and SCHEDULERS[name].noise != self._traits.noise:
            fitting = [each for each, of in SCHEDULERS.items() if of.noise == self._traits.noise]
            message = (
                f"The scheduler {name!r} undoes another sort of noise than this "
                f"{self._traits.pipeline} was trained with. Fitting: {', '.join(fitting)}."
            )
            raise InvalidInput(message)

    def _check_negative(self, knobs: Mapping[str, object], guidance: float) -> None:
        if not knobs.get("negative_prompt") or self._traits.doubles_rows(guidance):
            return
        if self._traits.guidance_way == "rows":
            message = (
                f"A 'negative_prompt' works through a guidance above 1; it is {guidance:g}. Raise "
                "'guidance', or leave out 'negative_prompt'."
            )
        else:
            message = f"This {self._traits.pipeline} knows no 'negative_prompt': leave it out."
        raise InvalidInput(message)

    def _read_images(
        self, inputs: Mapping[str, object], knobs: Mapping[str, object]
    ) -> tuple[Image.Image | None, Image.Image | None]:
        given = [name for name in ("image", "mask") if inputs.get(name) is not None]
        if given and not self._traits.can_start_from_image:
            message = (
                f"A {self._traits.pipeline} draws from a prompt alone here: leave out {given[0]!r}."
            )
            raise InvalidInput(message)
        if self._traits.fills_masks and len(given) < 2:  # noqa: PLR2004 - both of them
            raise InvalidInput("This model fills masks, and nothing else: give 'image' and 'mask'.")
        if "image" not in given:
            if given:
                raise InvalidInput("A 'mask' says where 'image' is drawn anew: give 'image' too.")
            if "strength" in knobs and _is_input(inputs, "strength"):
                message = (
                    "'strength' says how far to go from 'image': give 'image', or leave it out."
                )
                raise InvalidInput(message)
            return None, None
        mask = read_mask("mask", inputs["mask"]) if "mask" in given else None
        return read_picture("image", inputs["image"]), mask

    def _read_size(self, knobs: Mapping[str, object], image: Image.Image | None) -> tuple[int, int]:
        """Give width and height: as asked for, else the image's own cut to fit, else the model's.

        An image of which one side is asked for keeps its other side.
        """
        traits, multiple = self._traits, self._traits.size_multiple
        own = (traits.width, traits.height)
        if image is not None:
            across, down = (max(side - side % multiple, multiple) for side in image.size)
            own = (across, down)
        width = int(cast("int", knobs.get("width", own[0])))
        height = int(cast("int", knobs.get("height", own[1])))
        for name, side in (("width", width), ("height", height)):
            if side % multiple:
                lower = side - side % multiple
                near = [str(each) for each in (lower, lower + multiple) if each]
                message = (
                    f"{name!r} is {side}; this model draws multiples of {multiple} pixels, such as "
                    f"{' or '.join(near)}."
                )
                raise InvalidInput(message)
            if traits.max_side is not None and side > traits.max_side:
                message = f"{name!r} is {side}; a side has {traits.max_side} pixels at most here."
                raise InvalidInput(message)
        if width * height > self._limits.max_pixels:
            message = (
                f"A picture of {width} x {height} has {width * height} pixels; this model draws "
                f"{self._limits.max_pixels} at most (`max_pixels` of the model file)."
            )
            raise InvalidInput(message)
        return width, height


def _is_input(inputs: Mapping[str, object], name: str) -> bool:
    return inputs.get(name) is not None


def _knobs(work: Work) -> dict[str, object]:
    """Join params and inputs and check them. A None is not given."""
    unknown = sorted(set(work.inputs) - set(INPUTS))
    if unknown:
        raise InvalidInput(f"Unknown input {unknown[0]!r}.{nearest(unknown[0], INPUTS)}")
    inputs = {name: value for name, value in work.inputs.items() if name in KNOBS}
    knobs = {
        name: value
        for values in (work.params, inputs)
        for name, value in values.items()
        if value is not None
    }
    try:
        wrong = _check().find(knobs)
    except ValueError as error:
        raise InvalidInput(f"The parameters are no JSON values: {error}") from error
    if wrong:
        raise InvalidInput(" ".join(departure.message for departure in wrong))
    _check_unicode("negative_prompt", str(knobs.get("negative_prompt", "")))
    return knobs


@cache
def _check() -> SchemaCheck:
    schema = {"type": "object", "properties": dict(KNOBS), "additionalProperties": False}
    return SchemaCheck(schema, key="parameter")


def _read_prompt(inputs: Mapping[str, object]) -> str:
    """Give the prompt. An empty one is refused: a picture of nothing is work for a mistake."""
    prompt = inputs.get("prompt")
    if not isinstance(prompt, str):
        raise InvalidInput(f"'prompt' must be text, not {type(prompt).__name__}.")
    if not prompt.strip():
        raise InvalidInput("The 'prompt' is empty: say what the picture shall show.")
    _check_unicode("prompt", prompt)
    return prompt


def _check_unicode(name: str, text: str) -> None:
    """Refuse what cannot be tokenised: JSON may hold surrogates that stand alone."""
    try:
        text.encode()
    except UnicodeEncodeError as error:
        message = f"{name!r} holds half a surrogate pair, which is no character."
        raise InvalidInput(message) from error


def _resized(image: Image.Image, width: int, height: int) -> Image.Image:
    if image.size == (width, height):
        return image
    return image.resize((width, height), resample=Image.Resampling.LANCZOS)
