"""Reply: answers go out with the headers that all of TorchServe's have, in its order.

Knows no route. One Reply answers one request.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Mapping, Sequence
from typing import Final

from torchloom_api.exchange import Exchange
from torchloom_api.torchserve.answer import FRESH, Answer
from torchloom_api.torchserve.frontend_error import Header
from torchloom_api.torchserve.protocol import CLOSE, shortcut_of


_log = logging.getLogger(__name__)

_FIRST_ERROR: Final = 400

_STAY: Final[Header] = ("connection", "keep-alive")

#: Statuses without a body, and whether they have a length all the same: HTTP's rules.
_EMPTY: Final[Mapping[int, bool]] = {204: False, 205: True, 304: False}

#: What may stand in a header that a handler has set; any other would cut the answer in two.
_NAME: Final = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_VALUE: Final = re.compile(r"[\t\x20-\x7e\x80-\xff]*")

#: What is said of the connection, of the length and of caches is not for handlers to say.
_OURS: Final = frozenset(
    {
        *("content-length", "transfer-encoding", "connection", "x-request-id"),
        *(name.lower() for name, _ in FRESH),
    }
)


class Reply:
    """Sends one answer, whole or in parts. `extra`: what the operator adds to each."""

    def __init__(self, exchange: Exchange, extra: Sequence[Header] = (), *, closes: bool) -> None:
        self._exchange = exchange
        self._extra = extra
        self._shortcut = shortcut_of(exchange)
        self._closes = closes or (self._shortcut is None and _is_last(exchange))

    @property
    def exchange(self) -> Exchange:
        """Give what is answered."""
        return self._exchange

    async def send(self, answer: Answer) -> None:
        """Send a whole answer."""
        body = b"" if answer.status in _EMPTY else answer.body
        length = [("content-length", str(len(body)))] if _EMPTY.get(answer.status, True) else []
        shortcut = self._shortcut
        if shortcut is not None and length and not answer.is_bare:
            shortcut.stay()
        headers = self._headers(answer, length)
        if shortcut is not None and shortcut.answer(answer.status, answer.phrase, headers, body):
            self._exchange.status = answer.status
            return
        await self._begin(answer, headers)
        await self._exchange.write(body, is_last=True)

    async def begin(self, answer: Answer) -> None:
        """Begin an answer whose parts are written as they come: status and headers."""
        await self._begin(answer, self._headers(answer, [("transfer-encoding", "chunked")]))
        if answer.body:
            await self._exchange.write(answer.body)

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part."""
        await self._exchange.write(body, is_last=is_last)

    async def _begin(self, answer: Answer, headers: Sequence[Header]) -> None:
        exchange = self._exchange
        if self._shortcut is not None:
            self._shortcut.respell(answer.phrase, [name for name, _ in headers])
        exchange.status = answer.status
        encoded = [(n.lower().encode("latin-1"), v.encode("latin-1")) for n, v in headers]
        await exchange.send(
            {"type": "http.response.start", "status": answer.status, "headers": encoded}
        )

    def _headers(self, answer: Answer, length: Sequence[Header]) -> Sequence[Header]:
        """Give all headers, in TorchServe's order; `length` says where the body ends."""
        is_over = self._closes or (self._shortcut is not None and self._shortcut.is_last)
        if answer.is_bare:
            return [*length, CLOSE] if is_over else length
        headers = [header for header in answer.headers if self._is_sound(header)]
        if answer.content_type and self._is_sound(("content-type", answer.content_type)):
            headers.append(("content-type", answer.content_type))
        is_over = is_over or answer.status >= _FIRST_ERROR
        return [
            *headers,
            ("x-request-id", self._exchange.id),
            *FRESH,
            *self._extra,
            *length,
            CLOSE if is_over else _STAY,
        ]

    def _is_sound(self, header: Header) -> bool:
        name, value = header
        if name.lower() in _OURS:
            return False
        is_sound = bool(_NAME.fullmatch(name) and _VALUE.fullmatch(value))
        if not is_sound:
            _log.warning("request %s: the header %r is left out", self._exchange.id, name[:80])
        return is_sound


def _is_last(exchange: Exchange) -> bool:
    """Tell whether the client, or its version of HTTP, wants no other answer on this connection."""
    is_old = exchange.scope["http_version"] == "1.0"
    return is_old or b"close" in exchange.headers.get(b"connection", b"").lower()
