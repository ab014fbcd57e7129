"""Picture files: what is read, what is refused before it is decoded, and what is written."""

from __future__ import annotations

import io
import struct
import zlib
from collections.abc import Callable

import numpy as np
import pytest
from PIL import Image
from tiny_pipeline import png_of

from torchloom.errors import InvalidInput
from torchloom_models.diffusion.picture_file import read_mask, read_picture, write_png


RED = Image.new("RGB", (4, 2), (255, 0, 0))


def saved(image: Image.Image, form: str, **options: object) -> bytes:
    """Give the bytes of a file of some format."""
    stream = io.BytesIO()
    image.save(stream, format=form, **options)
    return stream.getvalue()


def bomb(width: int, height: int) -> bytes:
    """Give a PNG that says it has so many pixels, and holds next to none."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        body = kind + data
        return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", pixels) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("form", ["PNG", "JPEG", "WEBP"])
def test_reads_the_usual_formats(form: str) -> None:
    """PNG, JPEG and WebP become RGB."""
    image = read_picture("image", saved(RED, form))

    assert (image.mode, image.size) == ("RGB", (4, 2))
    assert np.abs(np.asarray(image, np.int16) - [255, 0, 0]).max() < 8


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA"])
def test_turns_usual_modes_into_rgb_and_grey(mode: str) -> None:
    """Pictures in grey, with a palette or with transparency are taken."""
    data = png_of(RED.convert(mode))

    assert read_picture("image", data).mode == "RGB"
    assert read_mask("mask", data).mode == "L"


def test_turns_a_photograph_upright() -> None:
    """How a camera was held is a part of the picture."""
    exif = Image.Exif()
    exif[0x0112] = 6  # turned by a quarter

    assert read_picture("image", saved(RED, "JPEG", exif=exif)).size == (2, 4)


@pytest.mark.parametrize(
    ("make", "says"),
    [
        (lambda: b"", "(0 bytes) cannot be read as a picture"),
        (lambda: b"GIF89a" + bytes(20), "send a whole PNG, JPEG or WebP file"),
        (lambda: png_of(RED)[:40], "cannot be read"),
        (lambda: png_of(Image.new("RGB", (64, 64)))[:-30], "cannot be read"),
        (lambda: saved(RED, "JPEG")[:100], "cannot be read"),
        (lambda: saved(RED, "GIF"), "cannot be read"),
        (lambda: saved(Image.new("CMYK", (4, 4)), "JPEG"), "mode 'CMYK'"),
        (lambda: png_of(Image.new("I;16", (4, 4))), "mode 'I;16'"),
        (lambda: bomb(10_000, 10_000), "10000 x 10000 pixels; 33554432 are the most"),
        (lambda: bomb(100_000, 100_000), "more than 33554432 pixels"),
        (
            lambda: png_of(RED, save_all=True, append_images=[Image.new("RGB", (4, 2))]),
            "animated, with 2 frames",
        ),
    ],
)
def test_refuses_what_is_no_single_whole_picture(make: Callable[[], bytes], says: str) -> None:
    """Broken, huge, animated and odd files are the caller's error, told by the input's name."""
    with pytest.raises(InvalidInput) as caught:
        read_picture("the image", make())

    assert "the image" in caught.value.message
    assert says in caught.value.message


def test_refuses_what_is_no_file() -> None:
    """Only bytes are read."""
    with pytest.raises(InvalidInput, match="must be the bytes of a picture, not NoneType"):
        read_mask("mask", None)


def test_writes_png() -> None:
    """Pixels come back as they went."""
    pixels = np.arange(24, dtype=np.uint8).reshape(2, 4, 3)

    assert (np.asarray(Image.open(io.BytesIO(write_png(pixels)))) == pixels).all()
