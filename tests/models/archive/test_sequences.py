"""Sequences of requests."""

from __future__ import annotations

import pytest
from model_fakes.clock import Clock

from torchloom.errors import QueueFull
from torchloom_models.archive.sequences import SequenceLimits, Sequences, ended_by


START = {"ts_request_sequence_start": "true"}


def test_tells_the_handler_what_belongs_together() -> None:
    """An id may come as a parameter or a header; the first of a sequence is marked."""
    sequences = Sequences(SequenceLimits(most=2))

    assert sequences.join("a", START) == (
        "a",
        {"ts_request_sequence_id": "a", **START},
    )
    assert sequences.join("", {"ts_request_sequence_id": "a"})[1] == {"ts_request_sequence_id": "a"}


@pytest.mark.parametrize(
    ("limits", "waits_s", "is_open"),
    [
        (SequenceLimits(max_idle_s=1), [0.9, 0.9], True),
        (SequenceLimits(max_idle_s=1), [1.1], False),
        (SequenceLimits(max_life_s=1), [0.6, 0.6], False),
        (SequenceLimits(), [1e9], True),
    ],
)
def test_ends_what_is_idle_or_old(
    limits: SequenceLimits, waits_s: list[float], clock: Clock, *, is_open: bool
) -> None:
    """Each answer begins the time of idleness anew, but not that of its life.

    What has ended makes room for another.
    """
    sequences = Sequences(limits, now=clock)
    sequences.join("a", START)
    sequences.settle("a")
    for wait_s in waits_s[:-1]:
        clock.now_s += wait_s
        sequences.join("a", {})
        sequences.settle("a")
    clock.now_s += waits_s[-1]

    if is_open:
        with pytest.raises(QueueFull, match="1 sequences are open"):
            sequences.join("b", {})
    else:
        sequences.join("b", {})


def test_begins_a_sequence_with_whatever_comes_first() -> None:
    """Also where it does not say that it is the first: TorchServe asks for no such word."""
    sequences = Sequences(SequenceLimits())

    assert sequences.join("a", {}) == ("a", {"ts_request_sequence_id": "a"})


def test_keeps_a_sequence_whose_request_is_worked_on(clock: Clock) -> None:
    """A slow answer does not end it."""
    sequences = Sequences(SequenceLimits(max_idle_s=1), now=clock)
    sequences.join("a", START)
    clock.now_s = 100

    assert sequences.join("a", {})[0] == "a"


def test_reads_which_sequences_end() -> None:
    """Ids come with semicolons between; `true` stands for the request's own."""
    end = "ts_request_sequence_end"

    assert ended_by("a", [{}, {end: "b; c;"}]) == ["b", "c"]
    assert ended_by("a", [{end: "true"}]) == ["a"]
    sequences = Sequences(SequenceLimits())
    sequences.join("a", START)
    sequences.end(["a", "b"])
    sequences.settle("a")
    sequences.leave("a")
    sequences.join("b", START)
