"""SlotPool: slots that are held, and what the others keep, against a cache of made tokens."""

from __future__ import annotations

import random
from dataclasses import dataclass, field

import pytest

from torchloom_models.llm.cache.block_pool import ROOT
from torchloom_models.llm.cache.pool import Move
from torchloom_models.llm.cache.slot_pool import MIN_SHARED, Kept, SlotPool


#: Beginnings that are long enough to be shared, and one that is not.
LONG, OTHER, SHORT = [1] * 40, [2] * 40, [3] * (MIN_SHARED - 1)


@dataclass(eq=False)
class _Holder:
    ids: list[int]
    root: int = ROOT
    place: int = -1
    blocks: list[int] = field(default_factory=list)
    num_held: int = 0
    content: int = ROOT
    num_published: int = 0


class _Bench:
    """A pool beside a cache that really holds what is run and moved: roots and tokens by slot."""

    def __init__(self, num_slots: int, pool: SlotPool | None = None) -> None:
        self.pool = pool or SlotPool(num_slots)
        self.cache: list[list[object]] = [[] for _ in range(num_slots)]
        self.holders: list[_Holder] = []

    def begin(self, ids: list[int], root: int = ROOT, place: int = -1) -> _Holder:
        holder = _Holder(list(ids), root, place)
        assert self.pool.begin(holder)
        self.holders.append(holder)
        self.move()
        return holder

    def run(self, holder: _Holder, *written: int) -> None:
        """Run all of a holder's tokens, after it has written some."""
        holder.ids += written
        (slot,) = holder.blocks
        holder.num_held = len(holder.ids)
        # What lies behind stays, as it does in a cache.
        self.cache[slot][: holder.num_held] = _states(holder)
        self.pool.note(holder)
        self.check()

    def end(self, holder: _Holder) -> None:
        self.holders.remove(holder)
        self.pool.release(holder.blocks)
        self.check()

    def serve(self, ids: list[int], root: int = ROOT) -> int:
        """Run a sequence alone from begin to end; give how much of it was shared."""
        holder = self.begin(ids, root)
        num_shared = holder.num_held
        self.run(holder, 9)
        self.end(holder)
        return num_shared

    def move(self) -> None:
        while self.pool.moves:
            source, target, length, num_back = self.pool.moves.popleft()
            there, back = self.cache[source][:length], self.cache[target][:num_back]
            assert (len(there), len(back)) == (length, num_back)
            self.cache[target][:length] = there
            self.cache[source][:num_back] = back

    def check(self) -> None:
        """See whether what each holds, and what the pool believes of it, is in the cache."""
        self.pool.check(holder.blocks for holder in self.holders)
        for holder in self.holders:
            (slot,) = holder.blocks
            assert self.cache[slot][: holder.num_held] == _states(holder)[: holder.num_held]
        for states, content in zip(self.cache, self.pool._contents, strict=True):
            known = [(content.root, token) for token in content.tokens]
            assert states[: len(known)] == known


def _states(holder: _Holder) -> list[object]:
    return [(holder.root, token) for token in holder.ids]


def test_hands_out_the_lowest_slots_until_none_is_free() -> None:
    """So many rows as there are sequences; one that needs a spare one beside it waits."""
    bench = _Bench(3)
    first, second = bench.begin([1]), bench.begin([2])
    assert (first.blocks, second.blocks) == ([0], [1])
    assert not bench.pool.begin(_Holder([3]), num_spare=1)
    bench.begin([3])

    assert not bench.pool.begin(_Holder([4]))
    bench.end(first)
    assert bench.begin([4]).blocks == [0]


def test_shares_token_by_token_with_one_that_runs() -> None:
    """As far as they are alike, by a copy; what is written afterwards is its own."""
    bench = _Bench(3)
    first = bench.begin([*LONG, 5, 6])
    assert first.num_held == 0
    bench.run(first)

    second = bench.begin([*LONG, 5, 7])

    assert (second.blocks, second.num_held) == ([1], 41)
    bench.run(second)
    bench.run(first, 8)
    assert bench.begin([*LONG, 5, 6, 8, 4]).num_held == 43


def test_shares_nothing_of_what_has_not_been_run() -> None:
    """Two that begin together run all of their tokens, each for itself."""
    bench = _Bench(2)
    first, second = bench.begin(LONG), bench.begin(LONG)

    assert (first.num_held, second.num_held) == (0, 0)


def test_takes_a_kept_slot_with_what_it_holds() -> None:
    """The next turn of a conversation goes on where it ended, and nothing is copied."""
    bench = _Bench(2)
    assert bench.serve(LONG) == 0

    second = bench.begin([*LONG, 9, 4, 4])

    assert (second.blocks, second.num_held, list(bench.pool.moves)) == ([0], 41, [])
    assert bench.pool.num_kept == 0


def test_leaves_a_token_to_run() -> None:
    """Something must give logits."""
    bench = _Bench(2)
    bench.serve(LONG)

    assert bench.serve(LONG) == 39


def test_shares_no_short_beginning() -> None:
    """Running it is quicker than a pass that has a beginning; and it is not kept."""
    bench = _Bench(2)
    holder = bench.begin(SHORT)
    bench.run(holder)
    bench.end(holder)

    assert bench.pool.num_kept == 0
    assert bench.serve([*SHORT, 4]) == 0


def test_shares_nothing_between_roots() -> None:
    """What is computed by other weights is another content, whatever the tokens."""
    bench = _Bench(4)
    bench.serve(LONG)

    assert [bench.serve(LONG, root) for root in (-1, -2, -1)] == [0, 0, 39]


def test_shares_nothing_where_it_is_told_so() -> None:
    """Whether the pool was, or the one that begins."""
    bench = _Bench(2, SlotPool(2, is_shared=False))
    assert [bench.serve(LONG), bench.serve(LONG)] == [0, 0]
    assert (bench.pool.num_free, bench.pool.num_kept) == (2, 0)

    bench = _Bench(2)
    bench.serve(LONG)
    holder = _Holder(list(LONG))
    assert bench.pool.begin(holder, may_share=False)
    assert holder.num_held == 0


def test_keeps_what_others_ended_with_while_there_is_room() -> None:
    """Each new one takes the lowest slot: what that held moves up, and is found there."""
    bench = _Bench(3)
    for ids in (LONG, OTHER, [4] * 40):
        assert bench.serve(ids) == 0

    assert bench.pool.num_kept == 3
    assert [bench.serve(ids) for ids in (LONG, OTHER, [4] * 40)] == [39, 39, 39]


def test_gives_up_what_was_held_least_recently() -> None:
    """Being shared counts as being held."""
    bench = _Bench(2)
    bench.serve(LONG)
    bench.serve(OTHER)
    assert bench.serve(LONG) == 39
    assert bench.serve([4] * 40) == 0

    assert bench.serve(OTHER) == 0
    assert bench.serve([4] * 40) == 39


def test_keeps_what_stands_behind_a_beginning_while_there_is_room() -> None:
    """A conversation goes on after others that began like it, until a copy would cost more."""
    bench = _Bench(3)
    bench.serve([*LONG, *OTHER])

    assert bench.serve([*LONG, 5]) == 40
    assert bench.serve([*LONG, *OTHER, 9, 4]) == 81
    bench.serve([6] * 90)
    # Both are full by now: the short rest behind is given up before another's all.
    assert bench.serve([*LONG, 7]) == 40
    assert bench.serve([*LONG, *OTHER, 9]) == 80
    assert bench.serve([6] * 90) == 89


def test_lets_one_without_a_beginning_use_what_is_free_alone() -> None:
    """The last free slot is taken, be it what is shared or not."""
    bench = _Bench(2)
    first = bench.begin(OTHER)
    bench.serve([*LONG, *OTHER])

    second = bench.begin([*LONG, 8])

    assert (second.blocks, second.num_held) == ([1], 40)
    bench.run(first)
    bench.run(second)


def test_forgets_broken_slots() -> None:
    """Nobody finds them again."""
    bench = _Bench(2)
    holder = bench.begin(LONG)
    bench.run(holder)

    assert bench.pool.forget(holder.blocks) == [0]
    bench.end(holder)

    assert bench.pool.num_kept == 0
    assert bench.serve(LONG) == 0


def test_exchanges_a_high_row_for_what_is_kept_below() -> None:
    """The pass becomes smaller, and nothing is lost; it stays where that would make none so."""
    pool = SlotPool(4, bucket_of_rows=lambda rows: next(n for n in (0, 1, 2, 4) if n >= rows))
    bench = _Bench(4, pool)
    held = [bench.begin([number] * 40) for number in range(4)]
    for holder in held:
        bench.run(holder)
    bench.end(held[1])
    pool.compact(bench.holders)
    assert not pool.moves

    bench.end(held[2])
    held[3].num_held += 1  # a guess that came true, which nobody else knows of
    held[3].ids.append(7)
    bench.cache[3].append((ROOT, 7))
    pool.compact(bench.holders)

    assert list(pool.moves) == [Move(3, 1, 41, 40)]
    bench.move()
    bench.check()
    assert bench.serve([1] * 40) == 39
    pool.compact([])


def test_tells_what_is_kept() -> None:
    """The first token, and the place of the adapter that ran it."""
    bench = _Bench(3)
    first, second = bench.begin([*LONG]), bench.begin(OTHER, root=-1, place=2)
    for holder in (first, second):
        bench.run(holder)
        bench.end(holder)

    assert bench.pool.kept() == [Kept(0, 1, -1), Kept(1, 2, 2)]
    assert repr(bench.pool) == "<SlotPool 0 of 3 slots held, 2 kept>"


@pytest.mark.parametrize("num_slots", [1, 2, 5])
def test_stays_whole_in_any_order(num_slots: int) -> None:
    """What is believed of each slot is in the cache, whatever comes, goes and moves."""
    chance = random.Random(num_slots)
    bench = _Bench(num_slots)
    num_shared = 0
    for _ in range(2000):
        bench.pool.compact(bench.holders)
        bench.move()
        if len(bench.holders) < num_slots and chance.random() < 0.4:
            parts = [[chance.randrange(2)] * chance.choice([7, 40]) for _ in range(3)]
            ids = [token for part in parts for token in part]
            num_shared += bench.begin(ids, root=-chance.randrange(2)).num_held
        elif bench.holders:
            holder = chance.choice(bench.holders)
            bench.run(holder, chance.randrange(3))
            if chance.random() < 0.5:
                if chance.random() < 0.1:
                    bench.pool.forget(holder.blocks)
                bench.end(holder)
        bench.check()
    assert num_shared > 1000
