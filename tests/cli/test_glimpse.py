"""Values as a person can look at them."""

from __future__ import annotations

from base64 import b64encode

import pytest

from torchloom_api.cli.glimpse import glimpse


PNG = b"\x89PNG\r\n\x1a\n\x00\x00\x00\rIHDR" + (64).to_bytes(4) + (48).to_bytes(4) + bytes(2990)


def _encode(data: bytes) -> str:
    return b64encode(data).decode()


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (_encode(PNG), "PNG 64x48, 3.0 kB"),
        (f"data:image/png;base64,{_encode(PNG)}", "PNG 64x48, 3.0 kB"),
        (_encode(b"\xff\xd8\xff" + bytes(997)), "JPEG, 1.0 kB"),
        (_encode(b"RIFF" + bytes(96)), "WebP, 0.1 kB"),
        (_encode(bytes(3000)), "bytes, 3.0 kB"),
        ([{"image": _encode(PNG), "seed": 7}], [{"image": "PNG 64x48, 3.0 kB", "seed": 7}]),
    ],
)
def test_tells_bytes_in_words(value: object, shown: object) -> None:
    """Pictures by their kind and size, anything else that is long and base64 by its size."""
    assert glimpse(value) == shown


@pytest.mark.parametrize(
    "value",
    ["a red circle", "", "word " * 400, "a" * 128, "a" * 1025, 7, None, ["x"], {"a": True}],
)
def test_leaves_everything_else(value: object) -> None:
    """Text, keys and hashes are shown as they are."""
    assert glimpse(value) == value
