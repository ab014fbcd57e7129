"""Frames between the scheduler and a worker, and their bytes. Knows no socket and no state.

A frame is msgpack behind a length of four bytes (little endian). Numpy arrays travel as raw buffers
in an extension type; no framework's tensors do, and nothing is pickled.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

import msgspec
import numpy as np

from torchloom.code_status import CodeStatus
from torchloom.engine import Occupancy, Room, Values
from torchloom.errors import (
    WIRE_ERRORS,
    BatchContractError,
    Fault,
    TaskFailed,
    TorchLoomError,
)
from torchloom.policy import SessionPolicy
from torchloom.sample import Sample


_LENGTH = struct.Struct("<I")
_ARRAY = 1

#: The longest frame, in bytes: what its length can say.
MAX_BYTES = 0xFFFF_FFFF

#: Longest error message that travels, in characters.
_MAX_MESSAGE = 2000


class InvalidFrame(Exception):
    """Bytes that are no frame: the other end is broken."""


class Frame(msgspec.Struct, frozen=True, array_like=True):
    """What both ends send."""


class Open(Frame, frozen=True, tag=1):
    """Open the engine: the first frame of all. `prepare`: see Deployment; empty for none."""

    factory: str
    config: dict[str, object]
    device: str
    prepare: str = ""


WorkItem = tuple[int, dict[str, object], dict[str, object], bool]


class Admit(Frame, frozen=True, tag=2):
    """Take these tasks in: (id, inputs, params, whether chunks are wanted).

    `sessions`: which session a task belongs to, by id.
    """

    work: list[WorkItem]
    sessions: dict[int, str] = {}


class Cancel(Frame, frozen=True, tag=3):
    """Forget these tasks. Each is acknowledged by a Gone."""

    ids: list[int]


class Close(Frame, frozen=True, tag=4):
    """End, after giving everything back."""


class Progress(Frame, frozen=True, tag=5):
    """How loading goes."""

    what: str
    fraction: float | None


class Ready(Frame, frozen=True, tag=6):
    """The engine is open and warm.

    `memory_bytes` is what it holds on its device (0: not known), `notes` what it says of itself,
    `code` how its code stands, `sessions` what holds for those that it keeps, if it keeps any.
    """

    device: str
    max_tasks: int
    is_continuous: bool
    load_s: float
    memory_bytes: int = 0
    notes: list[str] = []
    code: list[CodeStatus] = []
    sessions: SessionPolicy | None = None

    @property
    def room(self) -> Room:
        """Give how much the engine can hold."""
        return Room(
            max_tasks=self.max_tasks, is_continuous=self.is_continuous, sessions=self.sessions
        )


class Claim(Frame, frozen=True, tag=10):
    """The worker has what it will load, which takes so much memory; it waits for a Grant."""

    bytes: int


class Grant(Frame, frozen=True, tag=11):
    """There is room for what was claimed: load it."""


class Apply(Frame, frozen=True, tag=12):
    """Take a setting (None: take it back). Each is answered by an Applied."""

    id: int
    key: str
    value: object


class Error(msgspec.Struct, frozen=True, array_like=True):
    """An error by the name of its class. `status`: its own, where that is not its class's."""

    name: str
    message: str
    faults: list[dict[str, object]] = []
    status: int | None = None


class Broken(Frame, frozen=True, tag=7):
    """The engine could not be opened; the worker ends."""

    error: Error


class ChunkEvent(msgspec.Struct, frozen=True, array_like=True, tag=1):
    """A piece of an answer."""

    id: int
    data: dict[str, object]


class ResultEvent(msgspec.Struct, frozen=True, array_like=True, tag=2):
    """A whole answer, what it counted, and the sessions that end with it."""

    id: int
    outputs: dict[str, object]
    counts: dict[str, int]
    ends: list[str] = []


class FailureEvent(msgspec.Struct, frozen=True, array_like=True, tag=3):
    """A task that failed."""

    id: int
    error: Error


class GoneEvent(msgspec.Struct, frozen=True, array_like=True, tag=4):
    """A cancelled task has left the engine."""

    id: int


WireEvent = ChunkEvent | ResultEvent | FailureEvent | GoneEvent


class Events(Frame, frozen=True, tag=8):
    """Events, and the steps since the last such frame: (seconds, how many tasks it worked on).

    `occupancy`: how full the engine is, where that has changed. `samples`: what the model
    itself has measured.
    """

    events: list[WireEvent]
    steps: list[tuple[float, int]]
    occupancy: Occupancy | None = None
    samples: list[Sample] = []


class Code(Frame, frozen=True, tag=9):
    """How the engine's code stands: sent when that has changed."""

    parts: list[CodeStatus]


class Applied(Frame, frozen=True, tag=13):
    """A setting was taken, or, with an error, was not."""

    id: int
    error: Error | None = None


class Step(Frame, frozen=True, tag=14):
    """Make one step: to an engine that follows another one's."""


AnyFrame = (
    Open
    | Admit
    | Cancel
    | Close
    | Progress
    | Ready
    | Broken
    | Events
    | Code
    | Claim
    | Grant
    | Apply
    | Applied
    | Step
)


def _encode_unknown(value: object) -> object:
    if isinstance(value, np.ndarray) and value.dtype.kind not in "OV":
        array = np.ascontiguousarray(value)
        head = msgspec.msgpack.encode((array.dtype.str, list(value.shape)))
        return msgspec.msgpack.Ext(_ARRAY, _LENGTH.pack(len(head)) + head + array.tobytes())
    if isinstance(value, np.generic) and value.dtype.kind not in "OV":
        return value.item()
    kind = f"array of {value.dtype}" if isinstance(value, np.ndarray) else type(value).__name__
    message = f"A value of type {kind!r} cannot travel between processes."
    raise TypeError(message)


def _decode_extension(code: int, data: memoryview) -> object:
    if code != _ARRAY:
        message = f"Unknown extension type {code}."
        raise ValueError(message)
    start = _LENGTH.size + _LENGTH.unpack_from(data)[0]
    dtype, shape = msgspec.msgpack.decode(data[_LENGTH.size : start])
    if np.dtype(dtype).hasobject:
        raise ValueError("Pointers do not travel.")
    return np.ndarray(shape, np.dtype(dtype), data, offset=start)


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_unknown)
_decoder: msgspec.msgpack.Decoder[AnyFrame] = msgspec.msgpack.Decoder(
    AnyFrame, ext_hook=_decode_extension
)


def encode(frame: Frame) -> bytes:
    """Turn a frame into its bytes, length first. Raises TypeError for values that cannot travel."""
    try:
        body = _encoder.encode(frame)
    except (OverflowError, RecursionError, ValueError) as error:
        message = f"A value cannot travel between processes: {error}."
        raise TypeError(message) from error
    if len(body) > MAX_BYTES:
        message = f"{len(body)} bytes cannot travel at once: the most is {MAX_BYTES}."
        raise TypeError(message)
    return _LENGTH.pack(len(body)) + body


def named(values: Values) -> dict[str, object]:
    """Give the values as the wire wants them; raise BatchContractError if they have no names."""
    if isinstance(values, Mapping) and all(isinstance(name, str) for name in values):
        return dict(values)
    message = f"An engine gives values by name, as a dict; this one gave {type(values).__name__}."
    raise BatchContractError(message)


def sendable(event: WireEvent) -> WireEvent:
    """Give the event, or the failure that takes its place if its values cannot travel."""
    try:
        encode(Events([event], []))
    except TypeError as error:
        return FailureEvent(event.id, to_error(error))
    return event


def unsendable(work: Sequence[WorkItem]) -> dict[int, str]:
    """Say why tasks cannot travel, by their ids; nothing of those that can."""
    faults = {}
    for item in work:
        try:
            encode(Admit([item]))
        except TypeError as error:
            faults[item[0]] = f"An input cannot be sent: {error}"
    return faults


def _decode(body: bytes) -> AnyFrame:
    try:
        return _decoder.decode(body)
    except (msgspec.DecodeError, RecursionError, TypeError, ValueError, struct.error) as error:
        message = f"{len(body)} bytes are no frame: {error}"
        raise InvalidFrame(message) from error


class FrameReader:
    """Cuts a stream of bytes into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[AnyFrame]:
        """Take bytes in and give every frame that they complete. Raises InvalidFrame."""
        self._buffer += data
        start = 0
        size = len(self._buffer)
        while size - start >= _LENGTH.size:
            end = start + _LENGTH.size + _LENGTH.unpack_from(self._buffer, start)[0]
            if end > size:
                break
            # Arrays keep views of what they were decoded from: give each frame bytes of its own.
            yield _decode(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]


def to_error(error: Exception) -> Error:
    """Turn an exception into what travels; one that is not ours becomes a TaskFailed."""
    if isinstance(error, TorchLoomError) and type(error).__name__ in WIRE_ERRORS:
        faults = [
            {name: getattr(fault, name) for name in Fault.__dataclass_fields__}
            for fault in error.faults
        ]
        own = error.status if error.status != type(error).status else None
        return Error(type(error).__name__, _sendable(error.message), faults, own)
    return Error(TaskFailed.__name__, _sendable(f"{type(error).__name__}: {error}"))


def sendable_status(status: CodeStatus) -> CodeStatus:
    """Give a status whose words can travel, whatever a compiler has said."""
    return replace(
        status,
        part=_sendable(status.part),
        pending=tuple(_sendable(each) for each in status.pending),
        failures=tuple(_sendable(each) for each in status.failures),
    )


def _sendable(message: str) -> str:
    return message[:_MAX_MESSAGE].encode("utf-8", "replace").decode("utf-8")


def from_error(error: Error) -> TorchLoomError:
    """Turn what travelled back into an exception."""
    faults = [msgspec.convert(fault, Fault) for fault in error.faults]
    arrived = WIRE_ERRORS.get(error.name, TaskFailed)(error.message, faults=faults)
    if error.status is not None:
        arrived.status = error.status  # type: ignore[misc]  # it had its own when it left
    return arrived
