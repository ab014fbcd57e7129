"""Media types, and values as bytes of JSON or PNG at the edge. Knows no route and no model.

Arrays become lists, bytes become base64, NaN and infinities become null.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import msgspec
import numpy as np

from torchloom.errors import TaskFailed
from torchloom_api.errors import NotAcceptable


JSON: Final = b"application/json"
EVENT_STREAM: Final = b"text/event-stream"
PNG: Final = b"image/png"

_PNG_SIGNATURE: Final = b"\x89PNG\r\n\x1a\n"


def _to_plain(value: object) -> object:
    if isinstance(value, np.ndarray | np.generic):
        return value.tolist()
    message = f"A value of type {type(value).__name__} cannot be written as JSON."
    raise NotImplementedError(message)


_encoder = msgspec.json.Encoder(enc_hook=_to_plain)


def to_json(value: object) -> bytes:
    """Write a value as JSON. Raises TaskFailed for what a model gave that has no JSON form."""
    try:
        return _encoder.encode(value)
    except (NotImplementedError, TypeError, UnicodeEncodeError, RecursionError) as error:
        message = f"The answer cannot be written as JSON: {error}"
        raise TaskFailed(message) from None


def to_png(outputs: Mapping[str, object]) -> bytes:
    """Give the one PNG picture among a run's outputs; NotAcceptable unless there is exactly one."""
    pictures = {name: value for name, value in outputs.items() if _is_png(value)}
    if len(pictures) == 1:
        (picture,) = pictures.values()
        return bytes(picture)  # type: ignore[call-overload, no-any-return]  # _is_png has seen to it
    message = (
        f"The client asks for one PNG picture; the outputs hold {len(pictures)}: ask for JSON."
    )
    raise NotAcceptable(message)


def _is_png(value: object) -> bool:
    return isinstance(value, bytes | bytearray | memoryview) and bytes(value[:8]) == _PNG_SIGNATURE
