"""RequestReader: every limit by its name and figures, and which value wins."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import png_of

from torchloom.engine import Work
from torchloom.errors import InvalidInput
from torchloom_models.diffusion.request import Limits, PictureRequest, RequestReader
from torchloom_models.diffusion.traits import Traits


TRAITS = Traits(
    pipeline="StableDiffusionPipeline",
    num_steps=50,
    guidance=7.5,
    height=512,
    width=640,
    size_multiple=8,
    latent_factor=8,
    latent_channels=4,
    can_start_from_image=True,
)

LIMITS = Limits(max_pixels=512 * 1024, max_steps=150)

IMAGE = png_of(Image.new("RGB", (130, 66), (200, 10, 10)))

MASK = png_of(Image.new("L", (64, 64), 255))


def read(
    *, traits: Traits = TRAITS, params: dict[str, object] | None = None, **inputs: object
) -> PictureRequest:
    """Read a request with a prompt."""
    work = Work(1, {"prompt": "a red circle", **inputs}, params or {})
    return RequestReader(traits, LIMITS).read(work)


def refusal(traits: Traits = TRAITS, **inputs: object) -> str:
    """Give the message of a refusal."""
    with pytest.raises(InvalidInput) as caught:
        read(traits=traits, **inputs)
    return caught.value.message


def test_takes_the_models_own_where_nothing_is_said() -> None:
    """Size, steps and guidance are the family's; there is no preview and no other scheduler."""
    request = read()

    assert (request.width, request.height) == (640, 512)
    assert (request.num_steps, request.guidance) == (50, 7.5)
    assert (request.scheduler, request.negative_prompt, request.preview_every) == (None, None, 0)
    assert 0 <= request.seed < 2**32


def test_lets_inputs_go_before_params() -> None:
    """Both name the same knobs; what is None is not given."""
    request = read(params={"num_steps": 10, "guidance": 2, "seed": 5}, num_steps=20, seed=None)

    assert (request.num_steps, request.guidance, request.seed) == (20, 2.0, 5)


def test_takes_whole_numbers_that_are_written_as_floats() -> None:
    """An expression may give 512.0: it is 512."""
    request = read(width=512.0, num_steps=4.0)

    assert (request.width, request.num_steps) == (512, 4)
    assert isinstance(request.width, int)


@pytest.mark.parametrize(
    ("inputs", "says"),
    [
        ({"width": 0}, "'width' must be 1 or more"),
        ({"height": -8}, "'height' must be 1 or more"),
        ({"width": 512.5}, "'width' must be a whole number"),
        ({"width": True}, "'width' must be a whole number"),
        ({"width": 100}, "'width' is 100; this model draws multiples of 8 pixels, such as 96 or"),
        ({"height": 4}, "such as 8."),
        ({"width": 10**6, "height": 10**6}, "has 1000000000000 pixels; this model draws 524288"),
        ({"width": 1024, "height": 520}, "`max_pixels`"),
        ({"num_steps": 0}, "'num_steps' must be 1 or more"),
        ({"num_steps": 10**6}, "'num_steps' is 1e+06; this model draws a picture in 150 steps"),
        ({"guidance": float("nan")}, "'guidance' must be a number"),
        ({"guidance": float("inf")}, "'guidance' must be"),
        ({"guidance": -1}, "'guidance' must be 0 or more"),
        ({"guidance": "high"}, "'guidance' must be a number"),
        ({"seed": -1}, "'seed' must be 0 or more"),
        ({"seed": 2**63}, "'seed' must be"),
        ({"seed": object()}, "no JSON values"),
        ({"prompt": ""}, "'prompt' is empty"),
        ({"prompt": " \n"}, "'prompt' is empty"),
        ({"prompt": ["a"]}, "'prompt' must be text, not list"),
        ({"prompt": "\ud800"}, "half a surrogate pair"),
        ({"negative_prompt": "\ud800"}, "half a surrogate pair"),
        ({"negative_prompt": 3}, "'negative_prompt' must be a string"),
        ({"negative_prompt": "red", "guidance": 1}, "a guidance above 1; it is 1."),
        ({"scheduler": "eulr"}, "'eulr' is not one of"),
        ({"scheduler": "flow_euler"}, "undoes another sort of noise"),
        ({"preview_every": -1}, "'preview_every' must be 0 or more"),
        ({"steps": 4}, "Unknown input 'steps'. Did you mean 'num_steps'?"),
        ({"mask": MASK}, "give 'image' too"),
        ({"strength": 0.5}, "give 'image', or leave it out"),
        ({"image": IMAGE, "strength": 0}, "'strength' must be more than 0"),
        ({"image": IMAGE, "strength": 1.5}, "'strength' must be 1 or less"),
        ({"image": IMAGE, "strength": float("nan")}, "'strength' must be a number"),
        ({"image": "a.png"}, "'image' must be the bytes of a picture, not str"),
        ({"image": IMAGE, "mask": b"\x89PNG\r\n\x1a\nnothing"}, "'mask' (15 bytes) cannot be read"),
    ],
)
def test_refuses_by_name_and_with_figures(inputs: dict[str, object], says: str) -> None:
    """What is beyond a limit, of another type, or makes no sense is refused before any work."""
    assert says in refusal(**inputs)


def test_refuses_unknown_params_with_the_nearest_name() -> None:
    """A parameter that is not known is refused; only inputs hold prompts and pictures."""
    with pytest.raises(InvalidInput, match="Did you mean 'num_steps'"):
        read(params={"num_step": 4})


def test_names_the_nearest_scheduler() -> None:
    """A scheduler is one of a closed list."""
    assert "Did you mean 'euler'?" in refusal(scheduler="eulr")


def test_refuses_what_the_family_cannot_do() -> None:
    """A family that draws from prompts alone says so by name."""
    flux = Traits(
        pipeline="FluxPipeline",
        num_steps=28,
        guidance=3.5,
        height=64,
        width=64,
        size_multiple=16,
        latent_factor=8,
        latent_channels=16,
        guidance_way="input",
        noise="flow",
    )

    assert "A FluxPipeline draws from a prompt alone" in refusal(flux, image=IMAGE)
    assert "FluxPipeline knows no 'negative_prompt'" in refusal(flux, negative_prompt="red")
    assert "Fitting: flow_euler, flow_heun." in refusal(flux, scheduler="ddim")


def test_draws_an_image_in_its_own_size_unless_told() -> None:
    """The sides of an image are cut to what the model can draw; given ones resize it."""
    own, wide = read(image=IMAGE), read(image=IMAGE, width=256, height=128)

    assert (own.width, own.height, own.strength) == (128, 64, 0.8)
    assert own.image is not None
    assert own.image.size == (128, 64)
    assert wide.image is not None
    assert wide.image.size == (256, 128)


def test_refuses_an_image_of_more_pixels_than_the_model_draws() -> None:
    """A large image needs a size to be drawn in."""
    large = png_of(Image.new("RGB", (1600, 800)))

    assert "1600 x 800 has 1280000 pixels" in refusal(image=large)
    assert read(image=large, width=512, height=256).image is not None


def test_draws_inside_a_mask_anew_by_default() -> None:
    """With a mask the strength is 1, and the mask has the picture's size."""
    request = read(image=IMAGE, mask=MASK)

    assert request.strength == 1.0
    assert request.mask is not None
    assert request.mask.size == (128, 64)
    assert np.asarray(request.mask).min() == 255


def test_leaves_a_default_strength_alone_without_an_image() -> None:
    """`params: {strength: …}` of a model file is for requests that bring an image."""
    assert read(params={"strength": 0.5}).image is None
    assert read(params={"strength": 0.5}, image=IMAGE).strength == 0.5
