"""BodyParser: parses a connection from within a request: its head has been told already.

httptools takes a request that asks for another protocol (`Upgrade`) to end with its head, though
nothing is upgraded here and a body may follow. Knows no answer.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final, Protocol

import httptools


#: What says where a body ends.
_FRAMING: Final = frozenset({b"content-length", b"transfer-encoding"})

#: The longest head whose lines end without a return, and how it begins.
_MAX_BARE: Final = 4096
_BARE_LINE: Final = re.compile(rb"\n*[A-Z]+ [^ \n]+ HTTP/1\.[01]\n")


class Listening(Protocol):
    """What hears what a parser finds."""

    def on_message_begin(self) -> None:
        """Hear that a request begins."""

    def on_url(self, url: bytes) -> None:
        """Hear a part of its URL."""

    def on_header(self, name: bytes, value: bytes) -> None:
        """Hear a header."""

    def on_headers_complete(self) -> None:
        """Hear that its head is over."""

    def on_body(self, body: bytes) -> None:
        """Hear a part of its body."""

    def on_message_complete(self) -> None:
        """Hear that it is over."""


class _PastHead:
    """Passes on all but the first head."""

    def __init__(self, listening: Listening) -> None:
        self._listening = listening
        self._is_past = False
        self.on_body = listening.on_body
        self.on_message_complete = listening.on_message_complete

    def on_message_begin(self) -> None:
        if self._is_past:
            self._listening.on_message_begin()

    def on_url(self, url: bytes) -> None:
        if self._is_past:
            self._listening.on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._is_past:
            self._listening.on_header(name, value)

    def on_headers_complete(self) -> None:
        if self._is_past:
            self._listening.on_headers_complete()
        self._is_past = True


def new_parser(listening: object) -> httptools.HttpRequestParser:
    """Make a parser of requests; what follows one that closes the connection is no fault."""
    parser = httptools.HttpRequestParser(listening)
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def begins_bare_head(data: bytes) -> bool:
    """Tell whether this is, or may become, a head whose lines end without a return.

    So ask probes that shells write by `echo`, a line at a time. httptools refuses them. One with a
    body is none: that would be read otherwise than it was meant.
    """
    is_head = b"\r" not in data and b"\n\n" not in data.strip(b"\n")
    has_no_body = not any(name in data.lower() for name in _FRAMING)
    is_short = len(data) <= _MAX_BARE
    return is_head and has_no_body and is_short and _BARE_LINE.match(data) is not None


def is_bare_head(data: bytes) -> bool:
    """Tell whether such a head is whole."""
    return data.endswith(b"\n\n")


def has_body(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Tell whether a head (names in lower case) says that a body follows."""
    return any(name in _FRAMING for name, _ in headers)


def body_parser(
    listening: Listening, headers: Iterable[tuple[bytes, bytes]]
) -> httptools.HttpRequestParser:
    """Make a parser for the body of a request with these headers, and for what comes after it.

    An empty body is over, and told so, at once.
    """
    parser = new_parser(_PastHead(listening))
    framing = [name + b": " + value + b"\r\n" for name, value in headers if name in _FRAMING]
    parser.feed_data(b"POST / HTTP/1.1\r\n" + b"".join(framing) + b"\r\n")
    return parser
