"""Parts on their way to a client."""

from __future__ import annotations

import asyncio
import weakref

import pytest
from api_fakes.turns import turns

from torchloom_api.torchserve.part_queue import PartQueue


class Part(dict[str, object]):
    """A part that can be watched."""


async def test_keeps_no_part_that_was_taken() -> None:
    """A stream may be longer than the memory."""
    queue = PartQueue()
    first, seen = Part(body=b"1"), list[object]()

    async def read() -> None:
        async for part in queue.parts():
            seen.append(part["body"])

    watched = weakref.ref(first)
    queue.put(first)
    del first
    reading = asyncio.create_task(read())
    queue.put({"data": {"body": b"2"}, "body": b"22"})
    await turns(lambda: len(seen) == 2)
    queue.put({"body": b"3"})
    await turns(lambda: len(seen) == 3)
    assert watched() is None
    queue.close()
    await reading

    assert seen == [b"1", b"22", b"3"]


@pytest.mark.parametrize(
    "part",
    [{"body": b""}, {"text": "a few letters"}, {"data": {"body": b"[0.5]", "value": [0.5]}}],
)
def test_is_full_of_small_parts_too(part: dict[str, object]) -> None:
    """Each takes memory, also one that says little: a model may write them without end."""
    queue = PartQueue()
    for _ in range(300_000):
        queue.put(part)

    assert queue.is_full
