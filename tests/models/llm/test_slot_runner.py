"""What lays spans out over slots: rows, positions, groups of like length."""

from __future__ import annotations

from torchloom_models.llm.cache.slot_pool import Kept
from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.slot_runner import TokenPass, by_like_length, padded, single_tokens
from torchloom_models.llm.span import Span


def _sequence(length: int, slot: int, num_held: int) -> Sequence:
    sequence = Sequence(
        slot,
        list(range(1, length + 1)),
        SamplingParams(),
        max_tokens=10,
        end_tokens=frozenset(),
        detokenizer=Detokenizer(lambda _: ""),
    )
    sequence.blocks = [slot]
    sequence.num_held = num_held
    return sequence


def _spans(*lengths: int) -> list[Span]:
    return [Span(_sequence(length, n, 0), 0, length) for n, length in enumerate(lengths)]


def test_lets_no_slot_lose_what_it_holds() -> None:
    """A prompt that is half done lies between two that write: its next free position is hit."""
    first, half, last = _sequence(5, 0, 4), _sequence(40, 1, 20), _sequence(9, 3, 8)
    spans = [Span(last, 8, 9), Span(first, 4, 5)]

    found = single_tokens(spans, [first, half, last], [], num_rows=4)

    assert found == TokenPass([5, 0, 0, 9], [4, 20, 0, 8], [-1] * 4, [3, 0])


def test_leaves_out_slots_above_the_pass() -> None:
    """They are not run."""
    first, other = _sequence(5, 0, 4), _sequence(9, 3, 8)

    assert single_tokens([Span(first, 4, 5)], [first, other], [Kept(1, 7, 0)], 1) == TokenPass(
        [5], [4], [-1], [0]
    )


def test_writes_to_a_slot_that_is_kept_what_is_there() -> None:
    """Its first token runs again in its place, by the adapter that ran it before."""
    last = _sequence(9, 2, 8)

    found = single_tokens([Span(last, 8, 9)], [last], [Kept(1, 7, 3)], 3)

    assert found == TokenPass([0, 7, 9], [0, 0, 8], [-1, 3, -1], [2])


def test_runs_spans_of_like_length_together() -> None:
    """In their order, as long as they are not mostly padding."""
    spans = _spans(6, 8, 30, 5, 5)

    assert by_like_length(spans) == [spans[:2], spans[2:3], spans[3:]]
    assert by_like_length([]) == []


def test_pads_with_zeros() -> None:
    """Behind the tokens."""
    assert padded(_spans(2, 3), 4) == [[1, 2, 0, 0], [1, 2, 3, 0]]
