"""Answer: an item that a handler gave becomes the bytes that TorchServe would send for it."""

from __future__ import annotations

import io
import json
import re
import sys
from typing import Final

import msgspec

from torchloom.errors import HandlerFailed
from torchloom_models.archive.context import CONTENT_TYPE, RequestProcessor


_UNSUPPORTED: Final = "Unsupported model output data type."

_UNAVAILABLE: Final = 503

#: JSON that may hold an integer that is too large, or half of a character.
_ODD: Final = re.compile(rb"(?<![.0-9])[0-9]{19}|\\u[dD][89a-fA-F]")
_TOO_LARGE: Final = 1 << 63
_MAX_DIGITS: Final = 20


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
        return item.encode("utf-8", "surrogatepass"), str.__str__(item)  # nothing of a subclass
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
    return body, _plain(body)


def _plain(body: bytes) -> object:
    """Give what JSON says, with such numbers and texts as travel."""
    if _ODD.search(body):
        value = json.loads(body, parse_int=_to_number)
        return json.loads(json.dumps(value, ensure_ascii=False).encode("utf-8", "replace"))
    try:
        return msgspec.json.decode(body)
    except msgspec.DecodeError:  # NaN and infinities, which msgspec does not read
        return json.loads(body)


def _to_number(digits: str) -> int | str:
    """Read an integer; one that is too large stays text."""
    number = int(digits) if len(digits) <= _MAX_DIGITS else _TOO_LARGE
    return number if abs(number) < _TOO_LARGE else digits
