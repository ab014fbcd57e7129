"""Event streams (server-sent events): events as they come, to one client. Knows no event."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final, Protocol

from torchloom_api.exchange import Exchange
from torchloom_api.media import EVENT_STREAM, to_json


#: Proxies must neither store nor gather a stream.
_HEADERS: Final = (
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
    """Write one event; JSON holds no line break, so `data:` is one line."""
    return b"id: %d\nevent: %s\ndata: %s\n\n" % (event.id, event.type.encode(), to_json(event.data))


async def send_events(exchange: Exchange, events: AsyncIterator[StreamEvent]) -> None:
    """Send every event as it comes, then end the answer.

    Never holds more than one event of its own: while the client reads slowly, it reads no events.
    """
    await exchange.begin(200, _HEADERS)
    async for event in events:
        await exchange.write(encode_event(event))
    await exchange.write(b"", is_last=True)
