"""Frames and their bytes."""

from __future__ import annotations

import struct

import msgspec
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst

from torchloom import wire
from torchloom.code_status import CodeStatus
from torchloom.errors import (
    WIRE_ERRORS,
    Fault,
    HandlerFailed,
    InvalidInput,
    ModelLoadError,
    NotServing,
    TaskFailed,
    TorchLoomError,
)
from torchloom.sample import Sample
from torchloom.wire import (
    Admit,
    AnyFrame,
    Broken,
    Cancel,
    ChunkEvent,
    Claim,
    Close,
    Code,
    Error,
    Events,
    FailureEvent,
    Frame,
    FrameReader,
    GoneEvent,
    Grant,
    InvalidFrame,
    Open,
    Progress,
    Ready,
    ResultEvent,
    encode,
    from_error,
    to_error,
)


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary()
)
VALUES = st.dictionaries(
    st.text(),
    st.recursive(
        SCALARS,
        lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
        max_leaves=10,
    ),
    max_size=4,
)
FRAMES: list[Frame] = [
    Open("a:b", {"source": "x", "n": [1, 2.5, None]}, "cuda:0", "c:d"),
    Claim(1 << 40),
    Grant(),
    Admit([(1, {"text": "a"}, {}, True), (2, {"image": b"\x00"}, {"seed": 1}, False)]),
    Cancel([1, 2]),
    Close(),
    Progress("loading", 0.5),
    Progress("compiling", None),
    Ready("cpu", 8, True, 1.5, 1 << 40, ["chosen"], [CodeStatus(part="all", state="none")]),
    Events([], [], samples=[Sample("a", "gauge", "Count", {"b": "c"}, 0.5, "r1,r2")]),
    Code([CodeStatus(part="a", state="eager", pending=("int64 2x3",), failures=("no",))]),
    Broken(Error("ModelLoadError", "no", [])),
    Events(
        [
            ChunkEvent(1, {"text": "a"}),
            ResultEvent(1, {"text": "ab"}, {"prompt_tokens": 3}),
            FailureEvent(2, Error("TaskFailed", "no")),
            GoneEvent(3),
        ],
        [(0.25, 2), (0.125, 3)],
    ),
]


def _pass(frame: Frame) -> AnyFrame:
    (arrived,) = FrameReader().feed(encode(frame))
    return arrived


def _pass_value(value: object) -> object:
    arrived = _pass(Admit([(1, {"value": value}, {}, False)]))
    assert isinstance(arrived, Admit)
    return arrived.work[0][1]["value"]


@pytest.mark.parametrize("frame", FRAMES, ids=lambda frame: type(frame).__name__)
def test_carries_every_frame(frame: Frame) -> None:
    """What arrives is what was sent."""
    assert _pass(frame) == frame


@given(VALUES, VALUES)
def test_carries_nested_values(inputs: dict[str, object], params: dict[str, object]) -> None:
    """JSON values and bytes travel at any depth, in both directions."""
    assert _pass(Admit([(1, inputs, params, True)])) == Admit([(1, inputs, params, True)])
    events = Events([ResultEvent(1, inputs, {}), ChunkEvent(1, params)], [(0.0, 1)])
    assert _pass(events) == events


@given(
    npst.arrays(
        st.one_of(
            npst.boolean_dtypes(),
            npst.integer_dtypes(endianness="?"),
            npst.unsigned_integer_dtypes(endianness="?"),
            npst.floating_dtypes(endianness="?"),
            npst.complex_number_dtypes(endianness="?"),
            npst.datetime64_dtypes(endianness="?"),
            npst.timedelta64_dtypes(endianness="?"),
            npst.unicode_string_dtypes(endianness="?"),
            npst.byte_string_dtypes(),
        ),
        npst.array_shapes(min_dims=0, min_side=0, max_side=4),
    )
)
def test_carries_arrays_of_every_type_and_shape(array: np.ndarray) -> None:
    """Type, byte order, shape and every bit arrive; empty arrays and those without axes too."""
    arrived = _pass_value([array])
    assert isinstance(arrived, list)
    assert isinstance(arrived[0], np.ndarray)
    assert (arrived[0].dtype, arrived[0].shape) == (array.dtype, array.shape)
    assert arrived[0].tobytes() == array.tobytes()


def test_carries_arrays_that_lie_scattered_in_memory() -> None:
    """A transposed or strided view arrives as its values say."""
    array = np.arange(24).reshape(4, 6)
    assert np.array_equal(_pass_value(array.T), array.T)
    assert np.array_equal(_pass_value(array[::2, 1::3]), array[::2, 1::3])


def test_carries_numbers_of_numpy_as_plain_ones() -> None:
    """A numpy scalar is a number."""
    assert _pass_value([np.float32(1.5), np.int64(7), np.bool_(True)]) == [1.5, 7, True]


@pytest.mark.parametrize(
    "value",
    [
        object(),
        2**64,
        -(2**63) - 1,
        "\ud800",
        np.array([object()], dtype=object),
        np.zeros(2, dtype=[("a", "i4")]),
        np.zeros(1, dtype=[("a", "i4")])[0],
        lambda: None,
    ],
    ids=["object", "big", "small", "surrogate", "objects", "structured", "void", "function"],
)
def test_refuses_values_that_cannot_travel(value: object) -> None:
    """One kind of error for all of them, whatever the library makes of it; nothing is pickled."""
    with pytest.raises(TypeError, match=r"cannot travel|not supported"):
        encode(Admit([(1, {"value": value}, {}, False)]))


def test_refuses_values_that_are_too_deep() -> None:
    """Nesting beyond what can be encoded is refused like any other value."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]
    with pytest.raises(TypeError, match="cannot travel"):
        encode(Admit([(1, {"value": value}, {}, False)]))


def test_refuses_frames_beyond_what_their_length_can_say(monkeypatch: pytest.MonkeyPatch) -> None:
    """A frame that is too long is refused before it is sent."""
    monkeypatch.setattr(wire, "MAX_BYTES", 100)
    with pytest.raises(TypeError, match="the most is 100"):
        encode(Admit([(1, {"value": b"x" * 100}, {}, False)]))


@given(st.lists(st.sampled_from(FRAMES), max_size=4), st.data())
def test_cuts_frames_out_of_any_pieces(frames: list[Frame], data: st.DataObject) -> None:
    """However the bytes are split, each frame comes out when it is complete, in order."""
    whole = b"".join(encode(frame) for frame in frames)
    reader = FrameReader()
    arrived: list[AnyFrame] = []
    while whole:
        size = data.draw(st.integers(1, len(whole)))
        arrived += reader.feed(whole[:size])
        whole = whole[size:]
    assert arrived == frames


def test_cuts_frames_at_every_byte() -> None:
    """Byte by byte, every frame comes out with its last byte and not before."""
    reader = FrameReader()
    for frame in FRAMES:
        *head, last = encode(frame)
        for byte in head:
            assert list(reader.feed(bytes([byte]))) == []
        assert list(reader.feed(bytes([last]))) == [frame]


def test_carries_big_frames_in_small_pieces() -> None:
    """A frame of megabytes is put together from what the socket gives."""
    array = np.arange(1_000_000, dtype="f4")
    whole = encode(Admit([(1, {"value": array}, {}, False)])) + encode(Close())
    reader = FrameReader()
    arrived = [
        frame for i in range(0, len(whole), 65_536) for frame in reader.feed(whole[i : i + 65_536])
    ]
    assert isinstance(arrived[0], Admit)
    value = arrived[0].work[0][1]["value"]
    assert isinstance(value, np.ndarray)
    assert np.array_equal(value, array)
    assert arrived[1:] == [Close()]


@given(st.binary(min_size=1, max_size=60))
def test_never_takes_garbage_for_more_than_a_frame(body: bytes) -> None:
    """Any bytes are a frame or an InvalidFrame: nothing else is raised."""
    reader = FrameReader()
    try:
        (frame,) = reader.feed(struct.pack("<I", len(body)) + body)
    except InvalidFrame:
        return
    assert isinstance(frame, Frame)


@pytest.mark.parametrize(
    "extension",
    [
        msgspec.msgpack.Ext(2, b""),
        msgspec.msgpack.Ext(1, b""),
        msgspec.msgpack.Ext(1, struct.pack("<I", 99)),
        msgspec.msgpack.Ext(1, struct.pack("<I", 6) + msgspec.msgpack.encode(("<f4", [9]))),
        msgspec.msgpack.Ext(
            1, struct.pack("<I", 6) + msgspec.msgpack.encode(("|O", [1])) + b"x" * 9
        ),
    ],
    ids=["unknown", "empty", "cut off", "too short", "pointers"],
)
def test_refuses_arrays_that_are_none(extension: msgspec.msgpack.Ext) -> None:
    """A broken array is a broken frame, and never reads memory that is not its own."""
    body = msgspec.msgpack.encode([2, [[1, {"x": extension}, {}, False]]])
    with pytest.raises(InvalidFrame):
        list(FrameReader().feed(struct.pack("<I", len(body)) + body))


@pytest.mark.parametrize("kind", list(WIRE_ERRORS.values()))
def test_carries_errors_by_their_class(kind: type[TorchLoomError]) -> None:
    """Class, message and faults arrive."""
    error = kind("Broken.", faults=[Fault(message="here", file="a.yaml", line=3)])
    arrived = from_error(to_error(error))
    assert type(arrived) is kind
    assert (arrived.message, arrived.faults) == (error.message, error.faults)


def test_keeps_a_status_that_is_the_errors_own() -> None:
    """A handler decides with which status it fails; others have that of their class."""
    failed = from_error(to_error(HandlerFailed("gone", cause="why", status=410)))
    loaded = ModelLoadError("full")
    loaded.status = 507  # type: ignore[misc]  # as its worker says
    assert type(failed) is HandlerFailed
    assert (failed.status, failed.faults) == (410, (Fault(message="why"),))
    assert from_error(to_error(loaded)).status == 507
    assert from_error(to_error(ModelLoadError("x"))).status == 500
    assert from_error(to_error(HandlerFailed("x"))).status == 503


def test_turns_other_errors_into_failures_of_the_task() -> None:
    """What is not ours arrives as TaskFailed with its name; a class that is unknown as well."""
    arrived = from_error(to_error(ZeroDivisionError("division by zero")))
    assert type(arrived) is TaskFailed
    assert arrived.message == "ZeroDivisionError: division by zero"
    assert type(from_error(to_error(NotServing("no")))) is TaskFailed
    assert type(from_error(Error("Nonsense", "x"))) is TaskFailed


def test_bounds_the_messages_of_errors() -> None:
    """A message of any length or content can travel."""
    assert len(to_error(ValueError("x" * 10_000)).message) == 2000
    assert len(to_error(InvalidInput("x" * 10_000)).message) == 2000
    frame = Broken(to_error(ValueError("\ud800")))
    assert _pass(frame) == Broken(Error("TaskFailed", "ValueError: ?"))
