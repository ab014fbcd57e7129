"""Answer: an item that a handler gave becomes the bytes that TorchServe would send for it."""

from __future__ import annotations

import io
import json
import re
import sys
from collections.abc import Mapping
from typing import Final

import msgspec

from torchloom.errors import HandlerFailed
from torchloom_models.archive.context import CONTENT_TYPE, RequestProcessor


_UNSUPPORTED: Final = "Unsupported model output data type."

_UNAVAILABLE: Final = 503

#: What travels is below it, and of how many digits it is seen what may not.
_MAX_INT: Final = 1 << 63
_LONG: Final = re.compile(rb"[0-9]{19}")


def to_outputs(item: object, said: RequestProcessor) -> dict[str, object]:
    """Give a row's outputs: what the handler gave for it, and what it said of it.

    Raises HandlerFailed for an item that has no form on the wire.
    """
    body, value = _encode(item)
    headers = {str(name): str(each) for name, each in said.get_response_headers().items()}
    names = [name for name in headers if name.lower() == CONTENT_TYPE]
    content_types = [headers.pop(name) for name in names]
    return {
        "body": body,
        "content_type": content_types[-1] if content_types else None,
        "status": said.get_response_status_code(),
        "reason": said.get_response_status_phrase(),
        "headers": headers,
        "value": value,
    }


def _encode(item: object) -> tuple[bytes, object]:
    """Give an item's bytes, and its value where it is JSON or text."""
    if isinstance(item, bytes | bytearray | memoryview):
        return bytes(item), None
    if isinstance(item, str):
        return item.encode("utf-8", "surrogatepass"), item
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(item, torch.Tensor):
        stream = io.BytesIO()
        torch.save(item, stream)
        return stream.getvalue(), None
    try:
        body = json.dumps(item, indent=2).encode()
    except (TypeError, ValueError, RecursionError) as error:
        cause = f"{type(error).__name__}: {error}"
        raise HandlerFailed(_UNSUPPORTED, cause=cause, status=_UNAVAILABLE) from error
    return body, _plain(item, body)


def _plain(item: object, body: bytes) -> object:
    """Give an item as JSON has it: keys are text, and numbers are such that they travel."""
    if not isinstance(item, list | tuple | Mapping):
        return _shorten(item)
    try:
        value: object = msgspec.json.decode(body)
    except msgspec.DecodeError:  # NaN and infinities, which msgspec does not read
        value = json.loads(body)
    return _shorten(value) if _LONG.search(body) else value


def _shorten(value: object) -> object:
    """Write whole numbers as text that have no room in 64 bits."""
    if isinstance(value, dict):
        return {key: _shorten(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_shorten(each) for each in value]
    return str(value) if isinstance(value, int) and abs(value) >= _MAX_INT else value
