"""Request: what a client of TorchServe's API asks, read whole. Knows no route.

A body that is too large is refused before anything else is looked at, as TorchServe does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from urllib.parse import parse_qsl

import msgspec

from torchloom_api.body import BodyLimit, read_body
from torchloom_api.exchange import Exchange
from torchloom_api.torchserve.protocol import shortcut_of


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request. `headers` keep the client's spelling; `segments` are the parts of the path."""

    method: str
    path: str
    segments: tuple[str, ...]
    query: Sequence[tuple[str, str]]
    headers: Mapping[str, str]
    body: bytes
    id: str

    @property
    def content_type(self) -> str:
        """Give the media type of the body, or an empty text."""
        return self.header("content-type") or ""

    def header(self, name: str) -> str | None:
        """Give a header, however it is spelled; of several, the first."""
        wanted = name.lower()
        for each, value in self.headers.items():
            if each.lower() == wanted:
                return value
        return None

    def parameter(self, name: str) -> str | None:
        """Give a parameter of the query; of several, the first."""
        return next((value for key, value in self.query if key == name), None)


def split_path(path: str) -> tuple[str, ...]:
    """Give the parts of a path; empty ones at its end do not count."""
    parts = path.split("/")[1:]
    while parts and not parts[-1]:
        parts.pop()
    return tuple(parts)


def _spelled_headers(exchange: Exchange) -> dict[str, str]:
    """Give a request's headers in the client's spelling; of several of a name, the last."""
    shortcut = shortcut_of(exchange)
    pairs = exchange.scope["headers"] if shortcut is None else shortcut.headers
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in pairs}


def _with_length(headers: Mapping[str, str], body: bytes) -> Mapping[str, str]:
    """Say how long a body is whose client has not, as TorchServe tells handlers."""
    kept = {name: v for name, v in headers.items() if name.lower() != "transfer-encoding"}
    return {**kept, "content-length": str(len(body))}


async def _read_body(exchange: Exchange, limit: BodyLimit) -> bytes:
    shortcut = shortcut_of(exchange)
    body = None if shortcut is None else shortcut.take_body()
    if body is None:
        return await read_body(exchange, limit)
    limit.require(len(body))
    return body


async def read_request(exchange: Exchange, limit: BodyLimit) -> Request:
    """Read it whole. Raises RequestTooLarge, BadRequest (too slow) and ClientGone."""
    body = await _read_body(exchange, limit)
    query = exchange.scope["query_string"].decode("latin-1")
    headers: Mapping[str, str] = _spelled_headers(exchange)
    if b"content-length" not in exchange.headers:
        headers = _with_length(headers, body)
    return Request(
        method=exchange.scope["method"],
        path=exchange.path,
        segments=split_path(exchange.path),
        query=parse_qsl(query, keep_blank_values=True) if query else (),
        headers=headers,
        body=body,
        id=exchange.id,
    )
