"""Picture files: PNG, JPEG and WebP bytes become pictures, and pictures PNG bytes.

What comes in is nobody's friend: pixels are counted before any is decoded.
"""

from __future__ import annotations

import io
import struct
import warnings
import zlib

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from torchloom.errors import InvalidInput


#: The most pixels of a picture that is sent: it takes some 100 MB to decode.
MAX_INPUT_PIXELS = 2**25

_FORMATS = ("PNG", "JPEG", "WEBP")

#: Modes that become RGB or grey without loss of meaning.
_MODES = ("1", "L", "LA", "P", "PA", "RGB", "RGBA")

#: What Pillow raises for files that are broken.
_ERRORS = (
    OSError,
    SyntaxError,
    ValueError,
    EOFError,
    OverflowError,
    IndexError,
    KeyError,
    TypeError,
    struct.error,
    zlib.error,
)


def read_picture(name: str, value: object) -> Image.Image:
    """Give the picture, upright, in RGB. Raises InvalidInput."""
    return _read(name, value).convert("RGB")


def read_mask(name: str, value: object) -> Image.Image:
    """Give the mask in shades of grey. Raises InvalidInput."""
    return _read(name, value).convert("L")


def write_png(pixels: NDArray[np.uint8]) -> bytes:
    """Give the bytes of a PNG file for pixels [height, width, 3]."""
    stream = io.BytesIO()
    Image.fromarray(pixels).save(stream, format="PNG")
    return stream.getvalue()


def _read(name: str, value: object) -> Image.Image:
    if not isinstance(value, bytes | bytearray | memoryview):
        message = f"The input {name!r} must be the bytes of a picture, not {type(value).__name__}."
        raise InvalidInput(message)
    try:
        with warnings.catch_warnings():
            # Pillow warns of many pixels; they are counted here.
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)
            image = Image.open(io.BytesIO(value), formats=_FORMATS)
        _check_header(name, image)
        image.load()
        return ImageOps.exif_transpose(image)
    except Image.DecompressionBombError as error:
        message = f"The input {name!r} has more than {MAX_INPUT_PIXELS} pixels, the most there are."
        raise InvalidInput(message) from error
    except _ERRORS as error:
        message = (
            f"The input {name!r} ({len(value)} bytes) cannot be read as a picture: send a whole "
            f"PNG, JPEG or WebP file. ({type(error).__name__}: {_short(error)})"
        )
        raise InvalidInput(message) from error


def _short(error: BaseException) -> str:
    """Leave out Python's own names of things in memory."""
    return str(error).partition(" <")[0][:120]


def _check_header(name: str, image: Image.Image) -> None:
    width, height = image.size
    if width * height > MAX_INPUT_PIXELS:
        message = (
            f"The input {name!r} has {width} x {height} pixels; {MAX_INPUT_PIXELS} are the most."
        )
        raise InvalidInput(message)
    num_frames = int(getattr(image, "n_frames", 1))
    if num_frames > 1:
        message = f"The input {name!r} is animated, with {num_frames} frames: send one."
        raise InvalidInput(message)
    if image.mode not in _MODES:
        message = (
            f"The input {name!r} has pixels of mode {image.mode!r}; there are {', '.join(_MODES)}. "
            "Save it as RGB."
        )
        raise InvalidInput(message)
