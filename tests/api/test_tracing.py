"""Trace context in and out."""

from __future__ import annotations

import re

import pytest

from torchloom_api.tracing import Trace


GIVEN = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_goes_on_with_the_callers_trace() -> None:
    """The trace's id and flags are the caller's, the span is our own."""
    trace = Trace.from_header(GIVEN)

    assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"
    assert trace.flags == "01"
    assert trace.span_id != "b7ad6b7169203331"


def test_takes_what_later_versions_add() -> None:
    """A header of a later version may have more parts; those that we know are used."""
    trace = Trace.from_header(GIVEN.replace(b"00-", b"cc-", 1) + b"-more")

    assert trace.trace_id == "0af7651916cd43dd8448eb211c80319c"


@pytest.mark.parametrize(
    "header",
    [
        None,
        b"",
        b"nonsense",
        GIVEN.upper(),
        b"ff" + GIVEN[2:],
        b"00-" + b"0" * 32 + b"-b7ad6b7169203331-01",
        b"00-0af7651916cd43dd8448eb211c80319c-" + b"0" * 16 + b"-01",
        GIVEN + b"x",
    ],
)
def test_begins_a_trace_where_there_is_none(header: bytes | None) -> None:
    """An absent or malformed header begins a new trace that is not sampled."""
    trace = Trace.from_header(header)

    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-00", str(trace))
    assert trace.trace_id != "0af7651916cd43dd8448eb211c80319c"
