"""Drafter: a model that counts guesses, in as few passes as may be."""

from __future__ import annotations

from collections.abc import Sequence as Group

import pytest
import torch
from torch import Tensor

from torchloom.code_status import CodeStatus
from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.draft import drafter as module
from torchloom_models.llm.draft.drafter import Drafter
from torchloom_models.llm.draft.table import DraftTable
from torchloom_models.llm.paged_runner import Row
from torchloom_models.llm.sampling_params import SamplingParams
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span


class CountingRunner:
    """After token n comes n + 1. Notes what is run, and that blocks hold what stands before."""

    def __init__(self, num_blocks: int) -> None:
        self.passes: list[list[list[int]]] = []
        self.held: dict[tuple[int, int], int] = {}
        self.is_broken = False
        self.cleared: list[int] = []
        self.num_blocks = num_blocks
        self.is_closed = False

    def run_rows(self, rows: Group[Row]) -> Tensor:
        """Give logits of which that of the next number is the highest."""
        self.passes.append([list(row.tokens) for row in rows])
        logits = torch.zeros(len(rows), 64)
        for number, row in enumerate(rows):
            for place, token in enumerate(row.tokens, row.start):
                self.held[row.blocks[place // 4], place % 4] = token
            logits[number, row.tokens[-1] + 1] = 1.0
        return logits * float("nan") if self.is_broken else logits

    def clear(self, blocks: Group[int]) -> None:
        """Note them."""
        self.cleared += blocks

    def code_status(self) -> list[CodeStatus]:
        """Say that there is code."""
        return [CodeStatus(part="draft", state="compiled")]

    def close(self) -> None:
        """Note it."""
        self.is_closed = True


class Bench:
    """A drafter, and the sequences that it guesses for."""

    def __init__(self, *, own_size: int = 64) -> None:
        self.runner = CountingRunner(16)
        self.table = DraftTable(
            BlockPool(16, 4, is_shared=False), max_tokens=3, max_writers=3, max_length=40
        )
        self.drafter = Drafter(self.runner, self.table, vocabulary_size=60, own_size=own_size)

    def fill(self, *sequences: Sequence, room: int = 3) -> list[list[int]]:
        """Guess for sequences; give the guesses. What blocks hold must be what they wrote."""
        for sequence in sequences:
            self.table.limit(sequence, 1)
        spans = [Span(each, each.length - 1, each.length, room=room) for each in sequences]
        filled = self.drafter.fill(spans)
        self.table.check(sequences)
        for span in filled:
            row = self.table._rows[span.sequence]
            tokens = [*span.sequence.ids[: row.num_held], *row.guessed]
            held = [self.runner.held.get((row.blocks[n // 4], n % 4)) for n in range(len(tokens))]
            if not self.runner.is_broken:
                assert held == tokens
            assert span.room == 0
        return [list(span.draft) for span in filled]


def _sequence(*ids: int) -> Sequence:
    return Sequence(
        0,
        list(ids),
        SamplingParams(),
        max_tokens=50,
        end_tokens=frozenset(),
        detokenizer=Detokenizer(lambda _: ""),
    )


def test_writes_for_all_in_one_pass_a_token() -> None:
    """The first pass runs what is missing of each; each guess but the last is run."""
    bench = Bench()

    drafts = bench.fill(_sequence(1, 2, 3), _sequence(10))

    assert drafts == [[4, 5, 6], [11, 12, 13]]
    # Whoever lacks the least stands first.
    assert bench.runner.passes == [[[10], [1, 2, 3]], [[11], [4]], [[12], [5]]]


def test_goes_on_after_right_and_wrong_guesses() -> None:
    """A pass runs the tokens that are new to it alone, wherever they come from."""
    bench = Bench()
    sequence = _sequence(1, 2, 3)
    bench.fill(sequence)
    for token in (4, 5, 6, 7):  # all right, and one more
        sequence.append(token)
    bench.runner.passes.clear()
    assert bench.fill(sequence) == [[8, 9, 10]]
    assert bench.runner.passes[0] == [[6, 7]]

    for token in (8, 30):  # one right
        sequence.append(token)
    bench.runner.passes.clear()
    assert bench.fill(sequence) == [[31, 32, 33]]
    assert bench.runner.passes[0] == [[30]]


def test_catches_up_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """A long prompt takes several steps; whoever lacks little is guessed for beside it."""
    monkeypatch.setattr(module, "_MAX_PIECE", 8)
    bench = Bench()
    long, short = _sequence(*range(14)), _sequence(20, 21)

    drafts = [bench.fill(long, short) for _ in range(2)]

    assert drafts == [[[], [22, 23, 24]], [[], [22, 23, 24]]]
    assert bench.fill(long, short) == [[14, 15, 16], [22, 23, 24]]
    prompts = [rows for rows in bench.runner.passes if len(rows[0]) > 2]
    assert prompts == [[list(range(6))], [list(range(6, 13))]]  # two, and then one, of the other


def test_leaves_spans_without_room_alone() -> None:
    """Without any nothing is run; each gets as many guesses as it has room for."""
    bench = Bench()
    first, second = _sequence(1), _sequence(2)
    plain = [Span(first, 0, 1)]
    assert bench.drafter.fill(plain) is plain
    assert bench.runner.passes == []

    for sequence in (first, second):
        bench.table.limit(sequence, 1)
    filled = bench.drafter.fill([Span(first, 0, 1, room=1), Span(second, 0, 1, room=2)])

    assert [span.draft for span in filled] == [[2], [3, 4]]
    assert bench.runner.passes == [[[1], [2]], [[3]]]


def test_guesses_nothing_without_blocks() -> None:
    """The span has no room any more, and nobody is to learn of it."""
    bench = Bench()
    pool = bench.table._pool
    taken = pool.allocate(pool.num_free)
    sequence = _sequence(1)
    bench.table.limit(sequence, 1)

    (span,) = bench.drafter.fill([Span(sequence, 0, 1, room=2)])

    assert (span.draft, span.room, span.guesser) == ((), 0, None)
    pool.release(taken)


def test_drops_what_is_no_number() -> None:
    """Blocks are wiped and given back; the draft model begins anew with the sequence."""
    bench = Bench()
    sequence = _sequence(1, 2, 3)
    bench.fill(sequence)
    sequence.append(9)
    blocks = list(bench.table._rows[sequence].blocks)
    bench.runner.is_broken = True

    assert bench.fill(sequence) == [[]]
    assert bench.runner.cleared == blocks
    bench.runner.is_broken = False
    bench.runner.passes.clear()

    assert bench.fill(sequence) == [[10, 11, 12]]
    assert bench.runner.passes[0] == [[1, 2, 3, 9]]


def test_lets_models_have_room_for_other_numbers_of_tokens() -> None:
    """What only one of them has a row for is no token of any text."""
    bench = Bench(own_size=50)
    sequence = _sequence(55, 56)
    bench.table.limit(sequence, 1)
    bench.drafter.fill([Span(sequence, 1, 2, room=1)])
    assert bench.runner.passes == [[[0, 0]]]

    bench = Bench()
    sequence = _sequence(59)  # the likeliest, 60, is beyond the model that is guessed for
    assert bench.fill(sequence, room=1)[0][0] < 60


def test_ends_with_its_runner() -> None:
    """And says how its code stands."""
    bench = Bench()

    assert [status.part for status in bench.drafter.code_status()] == ["draft"]
    bench.drafter.close()

    assert bench.runner.is_closed
