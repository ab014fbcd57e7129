"""How a streamed answer comes in: the time to its first chunk, and chunks a second.

Counts chunks as they are framed on the wire. Knows no server.
"""

from __future__ import annotations

import socket
import time
from dataclasses import dataclass
from urllib.parse import urlsplit


@dataclass(frozen=True, slots=True, kw_only=True)
class Streamed:
    """One answer, chunked: times in seconds from the request on."""

    status: int
    body: bytes
    chunks: int
    first_s: float
    total_s: float


def ask(url: str, body: bytes) -> Streamed:
    """POST over a connection of its own, and read the chunks until the last."""
    parts = urlsplit(url)
    assert parts.hostname is not None
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    ).encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=60) as connection:
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        began = time.perf_counter()
        connection.sendall(request + body)
        with connection.makefile("rb") as answer:
            status = int(answer.readline().split(b" ")[1])
            while answer.readline().strip():
                pass
            pieces: list[bytes] = []
            first = 0.0
            while size := int(answer.readline().partition(b";")[0], 16):
                pieces.append(answer.read(size))
                answer.readline()
                first = first or time.perf_counter()
            total = time.perf_counter() - began
    return Streamed(
        status=status,
        body=b"".join(pieces),
        chunks=len(pieces),
        first_s=first - began,
        total_s=total,
    )
