"""SpelledProtocol: HTTP/1.1 that keeps the client's spelling of headers, and a phrase of ours.

Handlers are told headers as the client wrote them, and TorchServe's status line may end in any
phrase, or in none. ASGI has no room for either: both travel in a `Shortcut`, in the scope. It is
also a short way past ASGI for what most requests are: a body that is there, and a whole answer.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Final, cast

from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from torchloom_api.exchange import Exchange
from torchloom_api.protocol import GuardedProtocol, JoiningTransport
from torchloom_api.torchserve.answer import FRESH, error_answer
from torchloom_api.torchserve.frontend_error import Header, bad_request
from torchloom_api.torchserve.request_id import new_uuid


#: The key under which a Shortcut travels in the ASGI scope.
SHORTCUT_KEY: Final = "torchloom.shortcut"

#: The header of an answer that is the last of its connection.
CLOSE: Final[Header] = ("connection", "close")

_START: Final = b"HTTP/1.1 "


class Shortcut(JoiningTransport):
    """What a request's head said, what writes its answer, and a short way for that."""

    def __init__(self, transport: asyncio.Transport) -> None:
        super().__init__(transport)
        self.headers: list[tuple[bytes, bytes]] = []
        self._names: Mapping[bytes, bytes] = {}
        self._phrase: bytes | None = None
        self._cycle: RequestResponseCycle | None = None
        self._asks_to_stay = False

    def attach(self, cycle: RequestResponseCycle, *, asks_to_stay: bool) -> None:
        """Learn what uvicorn keeps of the request, and whether the connection is to stay."""
        self._cycle, self._asks_to_stay = cycle, asks_to_stay

    def stay(self) -> None:
        """Let the connection of a client of HTTP/1.0 stay that asks for it, as `ab -k` does.

        To be called before an answer whose head tells its length, and that it stays.
        """
        if self._asks_to_stay and self._cycle is not None:
            self._cycle.keep_alive = True

    def end(self) -> None:
        """Let the connection end with this answer: the server does."""
        self._asks_to_stay = False

    @property
    def is_last(self) -> bool:
        """Tell whether the connection ends with the answer, whatever that says.

        A client that was never given leave to send its body may send it, or another request.
        """
        cycle = self._cycle
        return cycle is not None and (not cycle.keep_alive or cycle.waiting_for_100_continue)

    def take_body(self) -> bytes | None:
        """Give the body, once, if all of it is there. None: it is to be awaited."""
        cycle = self._cycle
        if cycle is None or cycle.more_body or cycle.disconnected or cycle.waiting_for_100_continue:
            return None
        cycle.flow.resume_reading()
        cycle.message_event.clear()
        body, cycle.body = bytes(cycle.body), bytearray()
        return body

    def answer(self, status: int, phrase: str, headers: Sequence[Header], body: bytes) -> bool:
        """Send a whole answer at once; tell whether that was done: not to a client that lags.

        Of one that has gone, it counts as done. `headers` say the length, and last how it goes on.
        """
        cycle = self._cycle
        if cycle is None or cycle.response_started or cycle.flow.write_paused:
            return False
        if not cycle.disconnected:
            lines = "".join([f"{name}: {value}\r\n" for name, value in headers])
            head = f"HTTP/1.1 {status} {phrase}\r\n{lines}\r\n".encode("latin-1", "replace")
            has_body = cycle.scope["method"] != "HEAD"
            self._transport.write(head + body if has_body else head)
            self._complete(cycle, headers)
        return True

    def _complete(self, cycle: RequestResponseCycle, headers: Sequence[Header]) -> None:
        """Leave uvicorn as if it had sent the answer."""
        self._cycle = None  # or they would hold each other, until garbage is looked for
        cycle.response_started = cycle.response_complete = True
        cycle.message_event.set()
        if headers[-1] == CLOSE or not cycle.keep_alive:
            cycle.keep_alive = False
            self._transport.close()
        cycle.on_response()

    def respell(self, phrase: str, names: Sequence[str]) -> None:
        """Have the next head that is written end its first line so, and spell names so."""
        self._phrase = phrase.encode("latin-1", "replace")
        self._names = {name.lower().encode("latin-1"): name.encode("latin-1") for name in names}

    def write(self, data: bytes) -> None:
        """Send, a head as it is to be."""
        super().write(self._spell(data))

    def _spell(self, data: bytes) -> bytes:
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


def shortcut_of(exchange: Exchange) -> Shortcut | None:
    """Give a request's shortcut; None where another server has taken it in."""
    return cast("Mapping[str, Shortcut]", exchange.scope).get(SHORTCUT_KEY)


class SpelledProtocol(GuardedProtocol):
    """Puts a Shortcut into each request's scope, and obeys it."""

    _shortcut: Shortcut | None = None

    def shutdown(self) -> None:
        """End after what is being answered; no connection stays that was asked to."""
        if self._shortcut is not None:
            self._shortcut.end()
        super().shutdown()

    def on_message_begin(self) -> None:
        """Begin a head."""
        super().on_message_begin()
        shortcut = self._shortcut = Shortcut(self.transport)
        self._spelled = shortcut.headers
        self.scope[SHORTCUT_KEY] = shortcut  # type: ignore[typeddict-unknown-key]  # ASGI allows it

    def on_header(self, name: bytes, value: bytes) -> None:
        """Keep a header as it was written, and as uvicorn does."""
        self._spelled.append((name, value))
        name = name.lower()
        self.headers.append((name, value))
        if name == b"expect" and value.lower() == b"100-continue":
            self.expect_100_continue = True

    def _stand_between(self) -> JoiningTransport:
        """Give what writes an answer, where that does not take the short way."""
        self._spelled = []  # trailers, if any come
        is_old = self.scope["http_version"] == "1.0"
        asks_to_stay = is_old and bool(self.parser.should_keep_alive())
        assert self._shortcut is not None, "a head has begun"
        self._shortcut.attach(self.cycle, asks_to_stay=asks_to_stay)
        return self._shortcut

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002 - TorchServe has one for all
        """Refuse what is no HTTP, in TorchServe's shape."""
        answer = error_answer(bad_request("Invalid HTTP message."))
        headers = (
            ("content-type", answer.content_type),
            ("x-request-id", new_uuid()),
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
