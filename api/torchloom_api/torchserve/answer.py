"""Answer: status, headers and body as TorchServe gives them. Knows no route and no socket."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Final

import msgspec

from torchloom_api.torchserve.frontend_error import FrontendError, Header
from torchloom_api.torchserve.phrase import phrase_of


JSON: Final = "application/json"

#: The header that says that further parts follow.
STREAM_NEXT: Final = ("ts_stream_next", "true")

#: What may not stand in a status line, and what takes its place.
_CONTROLS: Final = dict.fromkeys((*range(32), 127), " ")


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A whole answer. `headers` are what is its own: those that all answers have come later.

    `reason` is the phrase of the status line; None gives the status's own. `is_bare`: nothing but
    the length goes with it.
    """

    status: int = 200
    body: bytes = b""
    content_type: str | None = None
    reason: str | None = None
    headers: Sequence[Header] = ()
    is_bare: bool = False

    @property
    def phrase(self) -> str:
        """Give what stands behind the status; nothing that would end its line."""
        if self.reason is None:
            return phrase_of(self.status)
        return self.reason if self.reason.isprintable() else self.reason.translate(_CONTROLS)


def to_json(value: object) -> bytes:
    """Write JSON as TorchServe does: two blanks, no escapes that are not needed, a line's end."""
    return json.dumps(value, indent=2, ensure_ascii=False).encode("utf-8", "replace") + b"\n"


def json_answer(value: object, status: int = 200) -> Answer:
    """Answer by a document."""
    return Answer(status=status, body=to_json(value), content_type=JSON)


def status_answer(text: str, status: int = 200) -> Answer:
    """Answer by a sentence."""
    return json_answer({"status": text}, status)


def error_answer(error: FrontendError) -> Answer:
    """Answer by an error."""
    value = {"code": error.status, "type": error.kind, "message": error.message}
    return Answer(
        status=error.status, body=to_json(value), content_type=JSON, headers=error.headers
    )
