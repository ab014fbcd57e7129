"""LogBatch: events on their way to the process that writes them, as bytes. Knows no file."""

from __future__ import annotations

import struct
from collections.abc import Iterator, Sequence
from typing import BinaryIO, Final, NamedTuple

import msgspec
from msgspec.structs import replace

from torchloom_api.torchserve.telemetry.log_layout import LogEvent
from torchloom_api.torchserve.telemetry.measurement import Measurement


#: Before each batch: how long it is, in bytes.
_LENGTH: Final = struct.Struct("<I")


#: What is logged.
AnyEvent = LogEvent | Measurement


class LogBatch(NamedTuple):
    """Events, and how many were left out before them because they came too fast."""

    num_lost: int
    events: Sequence[AnyEvent]


_encoder: Final = msgspec.msgpack.Encoder()
_decoder: Final = msgspec.msgpack.Decoder(LogBatch)


def encode_event(event: AnyEvent) -> bytes:
    """Write an event. What no text can hold (half a surrogate) becomes a question mark."""
    try:
        return _encoder.encode(event)
    except UnicodeEncodeError:
        return _encoder.encode(_to_sound(event))


def join_events(num_lost: int, events: Sequence[bytes]) -> bytes:
    """Make a batch of events that are written already."""
    data = _encoder.encode((num_lost, list(map(msgspec.Raw, events))))
    return _LENGTH.pack(len(data)) + data


def _to_sound(event: AnyEvent) -> AnyEvent:
    if isinstance(event, LogEvent):
        texts = {name: _sound(getattr(event, name)) for name in ("logger", "thread", "message")}
        return replace(event, **texts)
    values = [
        ([(_sound(head), _sound(tail)) for head, tail in texts], numbers)
        for texts, numbers in event.values
    ]
    return replace(event, values=values)


def _sound(text: str) -> str:
    return text.encode("utf-8", "replace").decode()


def read_batches(source: BinaryIO) -> Iterator[LogBatch]:
    """Give batches as they come; a last one that is not whole is left out."""
    while len(head := source.read(_LENGTH.size)) == _LENGTH.size:
        (size,) = _LENGTH.unpack(head)
        data = source.read(size)
        if len(data) < size:
            return
        yield _decoder.decode(data)
