"""Parts are sent as fast as the client reads, and only so many wait."""

from __future__ import annotations

import asyncio
from typing import Any, cast

import pytest

from torchloom_api.exchange import Exchange
from torchloom_api.torchserve import part_queue as part_queue_module
from torchloom_api.torchserve.part_stream import PartStream
from torchloom_api.torchserve.reply import Reply


async def test_gives_up_where_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are handlers that are faster than any client. What has been taken is still sent."""
    monkeypatch.setattr(part_queue_module, "_MAX_BYTES", 1000)
    reads = asyncio.Event()
    sent: list[bytes] = []
    failures: list[Exception] = []

    async def send(message: dict[str, Any]) -> None:
        await reads.wait()
        sent.append(message.get("body", b""))

    scope = {"type": "http", "path": "/", "headers": [], "http_version": "1.1", "method": "POST"}
    reply = Reply(Exchange(cast("Any", scope), cast("Any", None), cast("Any", send)), closes=False)
    parts = PartStream(reply, 10_000, failures.append)
    for number in range(10):
        parts.add({"data": {"body": b"%d" % number * 600}})
        await asyncio.sleep(0)
    flushing = asyncio.create_task(parts.flush())
    reads.set()
    await flushing
    parts.close()

    assert [each[:1] for each in sent if each] == [b"0", b"1", b"2"]
    assert len(failures) == 7
    assert "too slowly" in str(failures[0])
