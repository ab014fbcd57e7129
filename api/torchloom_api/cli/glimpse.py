"""Glimpse: a JSON value as a person can look at it: bytes become a few words. Knows no model."""

from __future__ import annotations

import binascii
import re
from collections.abc import Mapping


#: Text that is at least so long, and looks like base64, is taken for bytes; pictures at once.
_MIN_CHARS = 1024

_BASE64 = re.compile(r"(?:data:[\w.+/-]+;base64,)?([A-Za-z0-9+/]{32,}={0,2})")

#: How files of pictures begin.
_PICTURES: Mapping[bytes, str] = {
    b"\x89PNG\r\n\x1a\n": "PNG",
    b"\xff\xd8\xff": "JPEG",
    b"RIFF": "WebP",
    b"GIF8": "GIF",
}


def glimpse(value: object) -> object:
    """Give the value with what is base64 in it told in words, such as `PNG 64x64, 3.1 kB`."""
    if isinstance(value, str):
        return _glimpse_text(value)
    if isinstance(value, list):
        return [glimpse(part) for part in value]
    if isinstance(value, Mapping):
        return {key: glimpse(part) for key, part in value.items()}
    return value


def _glimpse_text(text: str) -> str:
    found = _BASE64.fullmatch(text)
    if found is None:
        return text
    encoded = found[1]
    head = binascii.a2b_base64(encoded[:32])
    kind = next((kind for start, kind in _PICTURES.items() if head.startswith(start)), None)
    if len(encoded) % 4 or (kind is None and len(text) < _MIN_CHARS):
        return text
    if kind == "PNG":  # which says its size in bytes 16 to 23
        width, height = int.from_bytes(head[16:20]), int.from_bytes(head[20:24])
        kind = f"PNG {width}x{height}"
    return f"{kind or 'bytes'}, {len(encoded) * 3 / 4000:.1f} kB"
