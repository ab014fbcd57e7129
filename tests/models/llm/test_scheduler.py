"""Scheduler: who goes next, with sequences that never run."""

from __future__ import annotations

import random

from torchloom.engine import Occupancy
from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.cache.pool import Move
from torchloom_models.llm.cache.slot_pool import SlotPool
from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.draft.table import DraftTable
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.scheduler import Budget, Scheduler
from torchloom_models.llm.sequence import Sequence


BUDGET = Budget(alone=100, beside=10)


def _scheduler(num_blocks: int = 16, block_size: int = 4, num_rows: int = 4) -> Scheduler:
    return Scheduler(BlockPool(num_blocks, block_size), num_rows=num_rows)


def _sequence(prompt: list[int], task_id: int = 0, max_tokens: int = 10) -> Sequence:
    return Sequence(
        task_id,
        prompt,
        SamplingParams(),
        max_tokens=max_tokens,
        end_tokens=frozenset(),
        detokenizer=Detokenizer(lambda _: ""),
    )


def _add(scheduler: Scheduler, *lengths: int, max_tokens: int = 10) -> list[Sequence]:
    """Add prompts of these lengths, no two of which begin alike."""
    sequences = [
        _sequence([number] * length, number, max_tokens) for number, length in enumerate(lengths)
    ]
    for sequence in sequences:
        scheduler.add(sequence)
    return sequences


def _pass(scheduler: Scheduler, budget: Budget = BUDGET) -> dict[int, tuple[int, int]]:
    """Run a pass that runs nothing; give what of which sequence went through it."""
    spans = scheduler.plan(budget)
    scheduler.advance(spans)
    for span in spans:
        if span.is_last:
            span.sequence.append(7)
    scheduler.check()
    return {span.sequence.task_id: (span.start, span.end) for span in spans}


def test_runs_prompts_together_and_then_token_by_token() -> None:
    """Prompts go in the order of their coming, and each writes from then on."""
    scheduler = _scheduler()
    _add(scheduler, 6, 8)

    assert _pass(scheduler) == {0: (0, 6), 1: (0, 8)}
    assert _pass(scheduler) == {0: (6, 7), 1: (8, 9)}


def test_runs_a_prompt_in_pieces_beside_those_that_write() -> None:
    """A long prompt holds nobody's next token up for longer than its budget."""
    scheduler = _scheduler()
    first, long = _sequence([1] * 3), _sequence([2] * 25, 1)
    scheduler.add(first)
    _pass(scheduler)
    scheduler.add(long)

    passes = [_pass(scheduler) for _ in range(4)]

    assert [spans[0] for spans in passes] == [(3, 4), (4, 5), (5, 6), (6, 7)]
    assert [spans[1] for spans in passes] == [(0, 10), (10, 20), (20, 25), (25, 26)]


def test_runs_more_of_prompts_beside_those_that_write_where_many_wait() -> None:
    """Each prompt that has a row coming brings its share, up to what goes through alone."""
    scheduler = _scheduler(num_rows=4)
    _add(scheduler, 3)
    _pass(scheduler, Budget(alone=18, beside=8))
    for number in range(1, 6):
        scheduler.add(_sequence([number] * 9, number))

    passes = [_pass(scheduler, Budget(alone=18, beside=8)) for _ in range(3)]

    assert passes[0] == {0: (3, 4), 1: (0, 9), 2: (0, 9)}
    assert passes[1] == {0: (4, 5), 1: (9, 10), 2: (9, 10), 3: (0, 8)}
    assert passes[2] == {0: (5, 6), 1: (10, 11), 2: (10, 11), 3: (8, 9)}


def test_keeps_to_the_budget_alone() -> None:
    """Where nobody writes, a pass is longer; what is left of it goes to the next prompt."""
    scheduler = _scheduler()
    _add(scheduler, 15, 15)

    assert _pass(scheduler, Budget(alone=20, beside=4)) == {0: (0, 15), 1: (0, 5)}
    assert _pass(scheduler, Budget(alone=20, beside=4)) == {0: (15, 16), 1: (5, 9)}


def test_waits_for_a_row_and_for_blocks() -> None:
    """A prompt waits until others leave rows and blocks for all of it."""
    scheduler = _scheduler(num_blocks=4, num_rows=2)
    first, second, third = _add(scheduler, 9, 9, 1, max_tokens=1)
    assert _pass(scheduler) == {0: (0, 9)}

    scheduler.remove(first)
    assert _pass(scheduler) == {1: (0, 9), 2: (0, 1)}
    scheduler.remove(second)
    scheduler.remove(third)
    scheduler.check()


def test_forgets_a_waiting_sequence() -> None:
    """A sequence that is removed before its first pass never runs."""
    scheduler = _scheduler()
    first, _ = _add(scheduler, 5, 5)

    scheduler.remove(first)

    assert _pass(scheduler) == {1: (0, 5)}


def test_shares_what_was_run_for_another() -> None:
    """Full blocks of the same beginning are not run again, while their owner runs and after."""
    scheduler = _scheduler()
    first, second, third = (_sequence([1] * 9, number) for number in range(3))
    scheduler.add(first)
    _pass(scheduler)
    scheduler.add(second)

    assert _pass(scheduler)[1] == (8, 9)
    scheduler.remove(first)
    scheduler.remove(second)
    scheduler.add(third)

    assert _pass(scheduler) == {2: (8, 9)}
    assert (first.num_cached, second.num_cached, third.num_cached) == (0, 8, 8)


def test_guesses_for_those_that_write() -> None:
    """Where the latest tokens stood before: within the budget, the answer and the free blocks."""
    scheduler = Scheduler(BlockPool(4, 4), num_rows=2, max_draft=5, max_drafts=9)
    sequence = _sequence([1, 2, 3, 4, 5, 6, 1, 2], max_tokens=5)
    scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    sequence.append(3)

    (span,) = scheduler.plan(Budget(alone=100, beside=2))
    assert (span.start, span.end, span.draft, span.num_tokens) == (8, 9, [4, 5], 3)
    assert span.tokens == [3, 4, 5]
    (span,) = scheduler.plan(BUDGET)
    assert span.draft == [4, 5, 6]  # three are left after the next
    scheduler.check()


def test_lets_guesses_starve_no_prompt() -> None:
    """Beside sequences whose guesses always come true a prompt is run as well, and they share."""
    scheduler = Scheduler(BlockPool(64, 8), num_rows=4, max_draft=32, max_drafts=9)
    writers = [_sequence([1, 2, 3, 4] * 4, number, max_tokens=200) for number in range(2)]
    for sequence in writers:
        scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    for sequence in writers:
        sequence.append(1)
    scheduler.add(_sequence([9] * 12, 2))

    spans = scheduler.plan(BUDGET)

    assert [len(span.draft) for span in spans] == [2, 2, 0]
    assert (spans[2].start, spans[2].end) == (0, 6)
    scheduler.check()


def test_guesses_for_no_more_rows_than_a_pass_takes() -> None:
    """What the device takes in one pass goes before the budget."""
    scheduler = Scheduler(BlockPool(16, 8), num_rows=4, max_draft=32, max_drafts=3)
    sequence = _sequence([1, 2, 3, 4] * 4, max_tokens=200)
    scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    sequence.append(1)

    (span,) = scheduler.plan(BUDGET)

    assert span.draft == [2, 3, 4]


def test_gives_room_to_a_draft_model_where_nothing_is_found() -> None:
    """Within the answer, the budget and what its table allows; the prompt beside has less then."""
    table = DraftTable(BlockPool(16, 4), max_tokens=3, max_writers=2, max_length=99)
    scheduler = Scheduler(
        BlockPool(16, 4), num_rows=3, max_draft=5, max_drafts=9, max_scored=9, draft=table
    )
    copying = _sequence([1, 2, 3, 4, 5, 6, 1, 2])
    other = _sequence([7, 8, 9], 1)
    for sequence in (copying, other):
        scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    copying.append(3)
    other.append(5)
    scheduler.add(_sequence([9] * 12, 2))

    spans = scheduler.plan(Budget(alone=100, beside=10))

    assert [(list(span.draft), span.room) for span in spans] == [([4, 5], 0), ([], 2), ([], 0)]
    assert [type(span.guesser).__name__ for span in spans[:2]] == ["PromptLookup", "NoneType"]
    assert spans[2].num_tokens == 6
    scheduler.check()
    other.max_tokens = 2
    assert [span.room for span in scheduler.plan(Budget(alone=100, beside=40))] == [0, 0, 0]
    scheduler.remove(other)
    scheduler.check()
    assert not table._rows


def test_gives_no_room_without_free_blocks() -> None:
    """What a draft model might guess takes no block from anybody."""
    table = DraftTable(BlockPool(16, 4), max_tokens=3, max_writers=2, max_length=99)
    scheduler = Scheduler(BlockPool(2, 4), num_rows=1, max_drafts=9, draft=table)
    sequence = _sequence([1, 2, 3, 4, 5], max_tokens=3)
    scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    sequence.append(6)
    sequence.max_tokens = 9

    assert [span.room for span in scheduler.plan(BUDGET)] == [0]


def test_counts_as_cached_what_others_have_run_alone() -> None:
    """A sequence that began, gave its blocks back and begins again does not count its own."""
    scheduler = _scheduler(num_blocks=8)
    sequence = _sequence([1] * 9)
    scheduler.add(sequence)
    scheduler.advance(scheduler.plan(Budget(alone=8, beside=4)))
    scheduler.remove(sequence)
    scheduler.add(sequence)

    assert _pass(scheduler) == {0: (8, 9)}
    assert sequence.num_cached == 0


def test_guesses_nothing_without_free_blocks() -> None:
    """A guess takes no block from anybody."""
    scheduler = Scheduler(BlockPool(3, 4), num_rows=2, max_draft=8, max_drafts=9)
    sequence = _sequence([1, 2, 3, 4, 5, 6, 1, 2], max_tokens=4)
    scheduler.add(sequence)
    scheduler.advance(scheduler.plan(BUDGET))
    sequence.append(3)
    sequence.max_tokens = 9

    (span,) = scheduler.plan(BUDGET)

    assert span.draft == ()
    scheduler.check()


def test_puts_the_youngest_back_when_blocks_run_out() -> None:
    """It waits again with all it has written, and goes on when there is room: nothing is lost."""
    scheduler = _scheduler(num_blocks=6)
    first, second = _add(scheduler, 6, 5, max_tokens=9)
    while _pass(scheduler).get(1):
        pass

    assert (second.num_held, len(second.tokens)) == (0, 7)
    assert scheduler.num_preemptions == 1
    scheduler.remove(first)
    assert _pass(scheduler) == {1: (8, 12)}
    assert second.num_cached == 0


def test_leaves_what_begins_a_block_to_grow_by() -> None:
    """A prompt that would fit is not begun to be put back at its next token."""
    scheduler = _scheduler(num_blocks=4)
    first, second = _sequence([1] * 7, 0, 9), _sequence([2] * 4, 1, 4)
    scheduler.add(first)
    _pass(scheduler)
    scheduler.add(second)

    assert _pass(scheduler) == {0: (7, 8)}
    assert scheduler.is_full
    scheduler.remove(first)
    assert _pass(scheduler) == {1: (0, 4)}
    assert not scheduler.is_full


def test_lets_nobody_pass_a_long_prompt() -> None:
    """Short ones behind it that would fit wait, so that it comes to its turn."""
    scheduler = _scheduler(num_blocks=6)
    (first,) = _add(scheduler, 9, max_tokens=6)
    _pass(scheduler)
    long = _sequence([2] * 15, 7, 2)
    scheduler.add(long)
    for number in range(8, 12):
        scheduler.add(_sequence([number], number, 1))

    while not first.finish_reason:
        assert set(_pass(scheduler)) == {0}
    scheduler.remove(first)

    assert next(iter(_pass(scheduler))) == 7


def test_tells_how_full_it_is() -> None:
    """Blocks by state, those that wait, and whether the first of them has no room."""
    scheduler = _scheduler(num_blocks=6)
    first, _ = _add(scheduler, 9, 12)
    assert not scheduler.occupancy.is_full  # nobody has looked yet
    _pass(scheduler)

    assert scheduler.occupancy == Occupancy(
        is_full=True, num_waiting=1, blocks={"held": 3, "kept": 0, "free": 3}
    )
    scheduler.remove(first)
    assert scheduler.occupancy.blocks == {"held": 0, "kept": 2, "free": 4}
    _pass(scheduler)
    assert not scheduler.occupancy.is_full
    assert scheduler.occupancy.num_waiting == 0


def test_is_full_without_a_row() -> None:
    """A sequence that waits for a row alone waits for room as well."""
    scheduler = _scheduler(num_rows=1)
    _, second = _add(scheduler, 2, 2)
    _pass(scheduler)
    assert scheduler.is_full
    scheduler.remove(second)
    assert not scheduler.is_full


def test_moves_the_last_row_down_when_that_makes_the_pass_smaller() -> None:
    """Rows above a hole move down if fewer padded rows remain, and stay otherwise."""
    pool = SlotPool(
        4, bucket_of_rows=lambda rows: next(size for size in (0, 1, 2, 4) if size >= rows)
    )
    scheduler = Scheduler(pool, num_rows=4)
    sequences = _add(scheduler, 5, 5, 5, 5)
    _pass(scheduler)
    scheduler.remove(sequences[1])
    _pass(scheduler)
    assert not scheduler.moves

    scheduler.remove(sequences[2])
    _pass(scheduler)

    assert list(scheduler.moves) == [Move(3, 1, 6)]
    assert sequences[3].blocks == [1]
    scheduler.check()


def test_shares_what_a_slot_holds() -> None:
    """By a copy before the pass, token for token, whoever holds it; and again after its end."""
    scheduler = Scheduler(SlotPool(3), num_rows=3)
    first, second, third = (_sequence([1] * 40 + [9, number], number) for number in range(3))
    scheduler.add(first)
    _pass(scheduler)
    scheduler.add(second)

    assert _pass(scheduler)[1] == (41, 42)
    assert list(scheduler.moves) == [Move(0, 1, 41)]
    scheduler.moves.clear()
    scheduler.remove(first)
    scheduler.remove(second)
    assert scheduler.occupancy.blocks == {"held": 0, "kept": 2, "free": 1}
    scheduler.add(third)
    assert _pass(scheduler) == {2: (41, 42)}
    assert [each.num_cached for each in (first, second, third)] == [0, 41, 41]


def test_discards_what_is_broken() -> None:
    """Nobody shares the blocks of a sequence that gave NaN; those it alone held are named."""
    scheduler = _scheduler()
    first, second = _sequence([1] * 9), _sequence([1] * 9, 1)
    scheduler.add(first)
    _pass(scheduler)
    scheduler.add(second)
    _pass(scheduler)
    shared, own = first.blocks[:2], first.blocks[2:]

    assert scheduler.discard(first) == own
    assert shared == second.blocks[:2]
    scheduler.remove(second)
    scheduler.add(_sequence([1] * 9, 2))
    assert _pass(scheduler) == {2: (0, 9)}


def test_ends_every_sequence_whatever_comes_and_goes() -> None:
    """With too few blocks for all, each still comes to its end, and every block comes back."""
    chance = random.Random(11)
    scheduler = _scheduler(num_blocks=7, num_rows=5)
    left = [
        _sequence([chance.randrange(2) for _ in range(chance.randrange(1, 16))], number, 12)
        for number in range(60)
    ]
    alive: list[Sequence] = []
    for _ in range(2000):
        if left and len(alive) < 8:
            alive.append(left.pop())
            scheduler.add(alive[-1])
        if chance.random() < 0.02 and alive:
            scheduler.remove(alive.pop(chance.randrange(len(alive))))
        _pass(scheduler, Budget(alone=9, beside=3))
        for sequence in [each for each in alive if each.finish_reason]:
            assert len(sequence.tokens) == 12
            scheduler.remove(sequence)
            alive.remove(sequence)
    assert not alive
    assert not left
    assert scheduler.num_preemptions > 0
    scheduler.check()
