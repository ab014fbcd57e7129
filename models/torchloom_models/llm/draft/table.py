"""DraftTable: which blocks of a draft model's cache hold what of which sequence.

It says as well for whom guessing is worth its time. Knows no model and no tensors.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection
from collections.abc import Sequence as Group
from dataclasses import dataclass, field
from typing import Final

from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.draft.trust import Trust
from torchloom_models.llm.sequence import Sequence


#: Where so many sequences in a row were not foreseen, the next begins in a pause.
_NUM_POOR: Final = 4


@dataclass(slots=True, eq=False)
class DraftRow:
    """What the draft model holds of one sequence: `num_held` of its tokens, then `guessed` ones."""

    trust: Trust
    blocks: list[int] = field(default_factory=list)
    num_held: int = 0
    guessed: list[int] = field(default_factory=list)

    def settle(self, ids: Group[int]) -> None:
        """Keep the guessed tokens that the sequence has taken; the others will be written over.

        Something is left to run: its last token.
        """
        for token in self.guessed:
            if self.num_held == len(ids) or ids[self.num_held] != token:
                break
            self.num_held += 1
        self.num_held = min(self.num_held, len(ids) - 1)
        self.guessed.clear()


class DraftTable:
    """The rows of the sequences that are guessed for: of running ones alone.

    At most `max_tokens` are guessed at once for each, none while more than `max_writers` write,
    and none beyond `max_length`, which the draft model's context may bound. A sequence begins with
    the trust that the last one to leave had, be it poor only where the last few all had so little.
    """

    def __init__(
        self, pool: BlockPool, *, max_tokens: int, max_writers: int, max_length: int
    ) -> None:
        self._pool = pool
        self._max_tokens = max_tokens
        self._max_writers = max_writers
        self._max_length = max_length
        self._rows: dict[Sequence, DraftRow] = {}
        self._latest: deque[Trust] = deque(maxlen=_NUM_POOR)

    def limit(self, sequence: Sequence, num_writers: int) -> int:
        """Give how many tokens to guess for a sequence now, where so many write."""
        most = min(self._max_tokens, self._max_length - sequence.length)
        if num_writers > self._max_writers or most <= 0:
            return 0
        if sequence not in self._rows:
            self._rows[sequence] = DraftRow(self._begin())
        return self._rows[sequence].trust.limit(most)

    def _begin(self) -> Trust:
        """Give the trust that a new sequence begins with."""
        good = [trust for trust in self._latest if not trust.is_poor]
        if good or len(self._latest) < _NUM_POOR:
            return good[-1].heir() if good else Trust()
        return self._latest[-1].heir()

    def hold(
        self, sequence: Sequence, length: int, beside: Collection[Sequence]
    ) -> DraftRow | None:
        """Give the row of a sequence, with blocks for so many tokens; None where there are none.

        Sequences that are not `beside` it give theirs back where they are needed.
        """
        row = self._rows[sequence]
        row.settle(sequence.ids)
        num_new = self._pool.num_needed(length) - len(row.blocks)
        while num_new > self._pool.num_free:
            idle = [
                each for other, each in self._rows.items() if each.blocks and other not in beside
            ]
            if not idle:
                return None
            self.empty(idle[0])
        row.blocks += self._pool.allocate(max(num_new, 0))
        return row

    def empty(self, row: DraftRow) -> None:
        """Take a row's blocks back; what they hold will be run anew."""
        self._pool.release(row.blocks)
        row.blocks, row.num_held = [], 0
        row.guessed.clear()

    def release(self, sequence: Sequence) -> None:
        """Forget a sequence that runs no more, if it was guessed for."""
        row = self._rows.pop(sequence, None)
        if row is not None:
            self._pool.release(row.blocks)
            self._latest.append(row.trust)

    def check(self, running: Group[Sequence]) -> None:
        """Assert the invariant: blocks are held by running sequences, enough for each."""
        self._pool.check(row.blocks for row in self._rows.values())
        assert self._rows.keys() <= set(running), repr(self)
        for row in self._rows.values():
            length = row.num_held + len(row.guessed)
            assert self._pool.num_needed(length) <= len(row.blocks), repr(row)

    def __repr__(self) -> str:
        """Say for how many it holds what."""
        return f"<DraftTable {len(self._rows)} sequences, {self._pool!r}>"
