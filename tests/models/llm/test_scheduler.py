"""Scheduler: who goes next, with sequences that never run."""

from __future__ import annotations

from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.scheduler import Move, Scheduler
from torchloom_models.llm.sequence import Sequence


def _scheduler(num_slots: int = 4) -> Scheduler:
    return Scheduler(
        num_slots=num_slots,
        bucket_of_rows=lambda rows: next(size for size in (0, 1, 2, 4) if size >= rows),
    )


def _sequence(length: int, task_id: int = 0) -> Sequence:
    return Sequence(
        task_id,
        [1] * length,
        SamplingParams(),
        max_tokens=10,
        end_tokens=frozenset(),
        detokenizer=Detokenizer(lambda _: ""),
    )


def _add(scheduler: Scheduler, *lengths: int) -> list[Sequence]:
    sequences = [_sequence(length, number) for number, length in enumerate(lengths)]
    for sequence in sequences:
        scheduler.add(sequence)
    return sequences


def test_prefills_prompts_of_like_length_together() -> None:
    """Prompts go in the order of their coming, as long as they are not mostly padding."""
    scheduler = _scheduler()
    first, second, longer, short = _add(scheduler, 6, 8, 30, 5)

    assert scheduler.next_prefill(100) == [first, second]
    assert scheduler.next_decode() == [first, second]
    assert scheduler.next_prefill(100) == [longer]
    scheduler.next_decode()
    assert scheduler.next_prefill(100) == [short]
    scheduler.check()


def test_keeps_to_the_budget() -> None:
    """Padded prompts beyond the budget wait, but the first one always goes."""
    scheduler = _scheduler()
    first, second, third = _add(scheduler, 15, 15, 15)

    assert scheduler.next_prefill(40) == [first, second]
    scheduler.next_decode()
    assert scheduler.next_prefill(5) == [third]


def test_takes_turns() -> None:
    """A heap of prompts never goes twice while sequences run."""
    scheduler = _scheduler()
    _add(scheduler, 5, 25, 125)

    assert len(scheduler.next_prefill(100)) == 1
    assert scheduler.next_prefill(100) == []
    assert len(scheduler.next_decode()) == 1
    assert len(scheduler.next_prefill(100)) == 1


def test_waits_for_a_slot() -> None:
    """A prompt without a slot waits until one is given back."""
    scheduler = _scheduler(num_slots=1)
    first, second = _add(scheduler, 5, 5)
    assert scheduler.next_prefill(100) == [first]
    scheduler.next_decode()
    assert scheduler.next_prefill(100) == []

    scheduler.remove(first)

    assert scheduler.next_prefill(100) == [second]
    scheduler.check()


def test_forgets_a_waiting_sequence() -> None:
    """A sequence that is removed before its prefill never runs."""
    scheduler = _scheduler()
    first, second = _add(scheduler, 5, 5)

    scheduler.remove(first)

    assert scheduler.next_prefill(100) == [second]
    scheduler.check()


def test_moves_the_last_row_down_when_that_makes_the_pass_smaller() -> None:
    """Rows above a hole move down if fewer padded rows remain, and stay otherwise."""
    scheduler = _scheduler()
    sequences = _add(scheduler, 5, 5, 5, 5)
    scheduler.next_prefill(100)
    scheduler.remove(sequences[1])
    assert scheduler.compact() == []

    scheduler.remove(sequences[2])

    assert scheduler.compact() == [Move(sequences[3], 3, 1)]
    assert scheduler.num_rows == 2
    scheduler.check()
