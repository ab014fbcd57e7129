"""SpelledProtocol: HTTP/1.1 that keeps the client's spelling of headers, and a phrase of ours.

Handlers are told headers as the client wrote them, and TorchServe's status line may end in any
phrase, or in none. ASGI has no room for either: both travel in a `Head`, in the scope.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping, Sequence
from typing import Final

from torchloom_api.protocol import GuardedProtocol, JoiningTransport
from torchloom_api.torchserve.answer import FRESH, error_answer
from torchloom_api.torchserve.frontend_error import bad_request


#: The key under which a Head travels in the ASGI scope.
HEAD_KEY: Final = "torchloom.head"

_START: Final = b"HTTP/1.1 "


class Head:
    """What a request's head said, and how that of its answer is to be written."""

    __slots__ = ("_names", "_phrase", "headers")

    def __init__(self) -> None:
        self.headers: list[tuple[bytes, bytes]] = []
        self._names: Mapping[bytes, bytes] = {}
        self._phrase: bytes | None = None

    def respell(self, phrase: str, names: Sequence[str]) -> None:
        """Have the next head that is written end its first line so, and spell names so."""
        self._phrase = phrase.encode("latin-1", "replace")
        self._names = {name.lower().encode("latin-1"): name.encode("latin-1") for name in names}

    def write(self, data: bytes) -> bytes:
        """Give a head as it is to be; once, and only after `respell`."""
        if self._phrase is None or not data.startswith(_START):
            return data
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.split(b"\r\n")
        status = first[len(_START) :].partition(b" ")[0]
        pairs = [line.partition(b": ") for line in lines]
        written = [self._names.get(name, name) + b": " + value for name, _, value in pairs]
        start = _START + status + b" " + self._phrase
        self._phrase = None
        return b"\r\n".join([start, *written, b"", b""]) + body


class SpelledTransport(JoiningTransport):
    """Writes heads as their Head has them."""

    def __init__(self, transport: asyncio.Transport, head: Head) -> None:
        super().__init__(transport)
        self._spelling = head

    def write(self, data: bytes) -> None:
        """Send."""
        super().write(self._spelling.write(data))


class SpelledProtocol(GuardedProtocol):
    """Puts a Head into each request's scope, and obeys it."""

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        self._head = Head()
        self.scope[HEAD_KEY] = self._head  # type: ignore[typeddict-unknown-key]  # ASGI allows it

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it was written."""
        self._head.headers.append((name, value))
        super().on_header(name, value)

    def _stand_between(self, transport: asyncio.Transport) -> JoiningTransport:
        """Give what writes an answer."""
        return SpelledTransport(transport, self._head)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - TorchServe has one for all
        """Refuse what is no HTTP, in TorchServe's shape."""
        answer = error_answer(bad_request("Invalid HTTP message."))
        headers = (
            ("content-type", answer.content_type),
            ("x-request-id", uuid.uuid4()),
            *FRESH,
            ("content-length", len(answer.body)),
            ("connection", "close"),
        )
        lines = [f"HTTP/1.1 400 {answer.phrase}", *(f"{name}: {value}" for name, value in headers)]
        self.transport.write("\r\n".join([*lines, "", ""]).encode() + answer.body)
        self.transport.close()


def guard_spelled(*, max_header_s: float, max_stall_s: float) -> type[SpelledProtocol]:
    """Make a protocol with these limits; uvicorn wants a class."""
    limits = {"max_header_s": max_header_s, "max_stall_s": max_stall_s}
    return type("SpelledProtocol", (SpelledProtocol,), limits)
