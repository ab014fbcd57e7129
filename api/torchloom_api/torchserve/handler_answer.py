"""What a handler has given, as an answer. Knows no request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.frontend_error import internal


def to_part(chunk: Mapping[str, object]) -> Mapping[str, object]:
    """Give what a handler has sent in between of a chunk."""
    return cast("Mapping[str, object]", chunk["data"])


def to_answer(outputs: Mapping[str, object], max_bytes: int) -> Answer:
    """Make an answer of what a handler has given. Raises FrontendError where it is too large."""
    body = to_body(outputs)
    if len(body) > max_bytes:
        raise internal("Worker died.")
    headers = cast("Mapping[str, str]", outputs.get("headers") or {})
    content_type = outputs.get("content_type")
    return Answer(
        status=_status(outputs.get("status")),
        reason=str(outputs.get("reason") or ""),
        body=body,
        content_type=content_type if isinstance(content_type, str) else None,
        headers=tuple(headers.items()),
    )


def _status(value: object) -> int:
    """Give the status that a handler has set, if HTTP has it."""
    return value if isinstance(value, int) and 200 <= value < 600 else 200  # noqa: PLR2004 - HTTP


def to_body(outputs: Mapping[str, object]) -> bytes:
    """Give the bytes of a part, or of the whole."""
    body = outputs.get("body", b"")
    assert isinstance(body, bytes | bytearray | memoryview), "the contract of handlers"
    return bytes(body)
