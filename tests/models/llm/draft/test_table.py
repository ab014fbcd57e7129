"""DraftTable: whose tokens lie where, with sequences that never run."""

from __future__ import annotations

from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.draft.table import DraftRow, DraftTable
from torchloom_models.llm.draft.trust import Trust
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence


def _sequence(length: int) -> Sequence:
    return Sequence(
        0,
        list(range(length)),
        SamplingParams(),
        max_tokens=50,
        end_tokens=frozenset(),
        detokenizer=Detokenizer(lambda _: ""),
    )


def _table(num_blocks: int = 8, max_writers: int = 2) -> DraftTable:
    pool = BlockPool(num_blocks, 4, is_shared=False)
    return DraftTable(pool, max_tokens=3, max_writers=max_writers, max_length=20)


def test_guesses_within_the_models_context_and_for_few_alone() -> None:
    """No more than there is room for; nothing where many write, whose rows fill a pass."""
    table = _table()

    assert table.limit(_sequence(10), 2) == 3
    assert table.limit(_sequence(18), 1) == 2
    assert table.limit(_sequence(20), 1) == 0
    assert table.limit(_sequence(10), 3) == 0


def test_keeps_what_was_guessed_rightly() -> None:
    """What came otherwise is not there: it will be run, over what was wrong."""
    row = DraftRow(Trust(), num_held=3, guessed=[7, 8, 9])

    row.settle([0, 1, 2, 7, 8, 5, 9])
    assert (row.num_held, row.guessed) == (5, [])
    row.guessed = [5]
    row.settle([0, 1, 2, 7, 8])
    assert row.num_held == 4, "the last token is run, for what comes after it"


def test_takes_blocks_of_those_that_are_not_guessed_for_now() -> None:
    """Of no other: without them, nothing is guessed."""
    table = _table(num_blocks=4)
    first, second, third = _sequence(9), _sequence(3), _sequence(5)
    for sequence in (first, second, third):
        table.limit(sequence, 1)
    held = table.hold(first, 9, {first})
    assert held is not None
    held.num_held = 9
    beside = table.hold(second, 3, {first, second})
    assert beside is not None

    assert table.hold(third, 5, {first, second, third}) is None
    row = table.hold(third, 5, {second, third})

    assert row is not None
    assert (len(row.blocks), len(beside.blocks), held.blocks, held.num_held) == (2, 1, [], 0)
    table.check([first, second, third])


def _leave(table: DraftTable, num_right: int) -> None:
    """Let a sequence come, be guessed for three times, and go."""
    sequence = _sequence(5)
    for _ in range(3):
        table.limit(sequence, 1)
        row = table.hold(sequence, 7, {sequence})
        assert row is not None
        row.trust.learn(num_right)
    table.release(sequence)


def _limits(table: DraftTable, count: int) -> list[int]:
    """Give what the next sequence may be guessed, so many times."""
    sequence = _sequence(5)
    limits = [table.limit(sequence, 1) for _ in range(count)]
    table._rows.clear()
    return limits


def test_begins_in_a_pause_where_the_last_four_were_not_foreseen() -> None:
    """Such texts cost the first of them something, the others little."""
    table = _table()
    for _ in range(3):
        _leave(table, 0)
        assert _limits(table, 1) == [3]
    _leave(table, 0)

    assert _limits(table, 9) == [0] * 8 + [2]


def test_begins_as_the_last_that_was_foreseen_ended() -> None:
    """Texts that are not foreseen switch nothing off for others beside them."""
    pool = BlockPool(8, 4, is_shared=False)
    table = DraftTable(pool, max_tokens=9, max_writers=2, max_length=20)
    _leave(table, 9)
    assert _limits(table, 1) == [9]
    for _ in range(3):
        _leave_poor(table)
        assert _limits(table, 1) == [9]
    _leave_poor(table)

    assert _limits(table, 1) == [0]


def _leave_poor(table: DraftTable) -> None:
    """Let a sequence come that is not foreseen, and go."""
    sequence = _sequence(5)
    while table.limit(sequence, 1):
        table._rows[sequence].trust.learn(0)
    table.release(sequence)


def test_gives_the_blocks_of_a_sequence_back() -> None:
    """Also of one that was never guessed for."""
    table = _table(num_blocks=2)
    sequence, other = _sequence(5), _sequence(6)
    table.limit(sequence, 1)
    table.hold(sequence, 8, {sequence})
    table.release(other)
    table.release(sequence)

    table.check([])
    assert repr(table).startswith("<DraftTable 0 sequences")
