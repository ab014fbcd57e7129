"""What clients see of a worker that is killed: requests that fail, and the longest silence.

Closed-loop clients over raw streams that connect again after a failure. Knows no server.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import pairwise
from urllib.parse import urlsplit


#: A client that has failed tries again after this long, as a patient one would.
_AGAIN_S = 0.01


@dataclass(frozen=True, slots=True, kw_only=True)
class Outage:
    """Requests that failed, and the longest time in which none was answered well."""

    failed: int
    longest_gap_s: float


@dataclass(slots=True)
class _Record:
    answered: list[float] = field(default_factory=list)
    failed: list[float] = field(default_factory=list)


async def _ask(url: str, record: _Record, until: float) -> None:
    """Ask again and again; a connection that is lost is a request that failed."""
    parts = urlsplit(url)
    request = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        "Content-Type: application/json\r\nContent-Length: 1\r\n\r\n1"
    ).encode()
    writer = None
    while time.perf_counter() < until:
        try:
            if writer is None:
                reader, writer = await asyncio.open_connection(parts.hostname, parts.port)
            writer.write(request)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(_length(head))
            is_well = head.startswith(b"HTTP/1.1 200")
        except (OSError, asyncio.IncompleteReadError):
            is_well = False
        (record.answered if is_well else record.failed).append(time.perf_counter())
        if not is_well:
            if writer is not None:
                writer.close()
            writer = None
            await asyncio.sleep(_AGAIN_S)
    if writer is not None:
        writer.close()


def _length(head: bytes) -> int:
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            return int(line.partition(b":")[2])
    return 0


async def watch(
    url: str, kill: Callable[[], None], *, clients: int, before_s: float, after_s: float
) -> Outage:
    """Let clients ask, kill in between, and tell what they saw."""
    record = _Record()
    end = time.perf_counter() + before_s + after_s
    asking = [asyncio.create_task(_ask(url, record, end)) for _ in range(clients)]
    await asyncio.sleep(before_s)
    kill()
    await asyncio.sleep(after_s)
    with suppress(TimeoutError):
        async with asyncio.timeout(10):
            await asyncio.gather(*asking)
    times = [*sorted(record.answered), end]
    gaps = [later - sooner for sooner, later in pairwise(times)]
    return Outage(failed=len(record.failed), longest_gap_s=max(gaps, default=before_s + after_s))
