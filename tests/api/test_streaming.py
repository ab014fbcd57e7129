"""Event streams."""

from __future__ import annotations

from collections.abc import AsyncIterator

import numpy as np
from api_fakes.conversation import read_events

from torchloom.event_log import RunEvent
from torchloom_api.exchange import Exchange
from torchloom_api.streaming import encode_event, send_events


async def send(*events: RunEvent) -> tuple[dict[str, object], bytes]:
    """Send events to a client; give the start and the body of the answer."""
    messages: list[dict[str, object]] = []

    async def receive() -> dict[str, object]:
        raise AssertionError("nothing is read")

    async def keep(message: dict[str, object]) -> None:
        messages.append(message)

    async def give() -> AsyncIterator[RunEvent]:
        for event in events:
            yield event

    await send_events(Exchange({"path": "/", "headers": []}, receive, keep), give())
    assert not messages[-1]["more_body"]
    return messages[0], b"".join(message["body"] for message in messages[1:])


def test_writes_an_event_in_three_lines() -> None:
    """Id, event and data, each on one line whatever the data holds."""
    event = RunEvent(7, "node.chunk", {"text": "a\n\ndata: b\r\u2028", "v": np.zeros(2)})

    assert encode_event(event).count(b"\n") == 4
    assert read_events(encode_event(event)) == [
        (7, "node.chunk", '{"text":"a\\n\\ndata: b\\r\u2028","v":[0.0,0.0]}')
    ]


async def test_forbids_proxies_to_store_or_gather() -> None:
    """Each event reaches the client when it is sent."""
    start, _ = await send()
    headers = dict(start["headers"])

    assert headers[b"content-type"] == b"text/event-stream; charset=utf-8"
    assert headers[b"cache-control"] == b"no-store"
    assert headers[b"x-accel-buffering"] == b"no"


async def test_ends_a_stream_with_what_cannot_be_written() -> None:
    """A value without JSON ends the stream by an event that says so, not by a broken connection."""
    _, body = await send(
        RunEvent(1, "node.chunk", {"text": "a"}),
        RunEvent(2, "node.chunk", {"data": object()}),
        RunEvent(3, "run.finished", {}),
    )
    events = read_events(body)

    assert [event[:2] for event in events] == [(1, "node.chunk"), (2, "run.failed")]
    assert "cannot be written as JSON" in events[1][2]
