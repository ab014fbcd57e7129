"""Event streams (server-sent events): events as they come, to one client. Knows no event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from torchloom.errors import TaskFailed
from torchloom_api.errors import Problem
from torchloom_api.exchange import Exchange
from torchloom_api.media import EVENT_STREAM, to_json


#: Proxies must neither store nor gather a stream.
STREAM_HEADERS: Final = (
    (b"content-type", EVENT_STREAM + b"; charset=utf-8"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),
)


class StreamEvent(Protocol):
    """What can be sent: ids rise."""

    @property
    def id(self) -> int: ...  # noqa: D102 - the class says it

    @property
    def type(self) -> str: ...  # noqa: D102 - the class says it

    @property
    def data(self) -> object: ...  # noqa: D102 - the class says it


def encode_event(event: StreamEvent) -> bytes:
    """Write one event; JSON holds no line break, so `data:` is one line. Raises TaskFailed."""
    return _write(event.id, event.type, event.data)


async def send_events(exchange: Exchange, events: AsyncIterator[StreamEvent]) -> None:
    """Send every event as it comes, then end the answer.

    Never holds more than one event of its own: while the client reads slowly, it reads no events.
    An event that has no JSON form is told as `run.failed`, and nothing follows it.
    """
    await exchange.begin(200, STREAM_HEADERS)
    async for event in events:
        try:
            encoded = encode_event(event)
        except TaskFailed as error:
            problem = Problem.from_error(error, instance=exchange.path, request_id=exchange.id)
            await exchange.write(_write(event.id, "run.failed", {"error": problem}))
            break
        await exchange.write(encoded)
    await exchange.write(b"", is_last=True)


def _write(event_id: int, kind: str, data: object) -> bytes:
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event_id, kind.encode(), to_json(data))
