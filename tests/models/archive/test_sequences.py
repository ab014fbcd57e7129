"""Sequences of requests, as handlers are told of them."""

from __future__ import annotations

from torchloom.engine import Work
from torchloom.policy import SessionPolicy
from torchloom_models.archive.row import Row
from torchloom_models.archive.sequence_headers import SequenceHeaders
from torchloom_models.archive.sequences import Sequences


SEQUENCES = Sequences(policy=SessionPolicy())


def row_of(**params: object) -> Row:
    """Read a task."""
    return Row.of(Work(1, {"body": "x"}, params))


def seen(row: Row) -> dict[str, object]:
    """Give what a row's headers say of its sequence."""
    return {name: value for name, value in row.headers.items() if "sequence" in name.lower()}


def test_tells_the_handler_what_belongs_together() -> None:
    """An id may come as a parameter or a header; a first that says so is marked."""
    by_param = SEQUENCES.join(row_of(sequence_id="a"), "a")
    headers = {"ts_request_sequence_id": "a", "ts_request_sequence_start": "true"}
    by_header = SEQUENCES.join(row_of(headers=headers), "a")

    assert (by_param.sequence_id, seen(by_param)) == ("a", {"ts_request_sequence_id": "a"})
    assert (by_header.sequence_id, seen(by_header)) == ("a", headers)


def test_marks_a_request_that_names_no_sequence() -> None:
    """It is the first of the one that was begun for it."""
    row = SEQUENCES.join(row_of(), "ts-seq-1")

    assert seen(row) == {
        "ts_request_sequence_id": "ts-seq-1",
        "ts_request_sequence_start": "true",
    }


def test_goes_by_other_names() -> None:
    """The usual ones mean nothing then."""
    names = SequenceHeaders(id="x-id", start="x-start", end="x-end")
    sequences = Sequences(policy=SessionPolicy(), headers=names)
    row = sequences.join(row_of(headers={"X-Id": "a", "ts_request_sequence_end": "a"}), "a")

    assert (row.headers["x-id"], "x-start" in row.headers) == ("a", False)
    assert sequences.ended_by(row, {"ts_request_sequence_end": "a"}) == []
    assert sequences.ended_by(row, {"x-end": "true"}) == ["a"]


def test_ends_what_a_request_or_its_answer_says() -> None:
    """And what only asks for a description: that is no sequence."""
    row = SEQUENCES.join(row_of(headers={"ts_request_sequence_end": "true"}, sequence_id="a"), "a")
    describing = SEQUENCES.join(row_of(is_describe=True), "ts-seq-1")

    assert SEQUENCES.ended_by(row, {"ts_request_sequence_end": "b"}) == ["a", "b"]
    assert SEQUENCES.ended_by(describing, {}) == ["ts-seq-1"]
