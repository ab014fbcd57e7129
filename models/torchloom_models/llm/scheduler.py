"""Scheduler: which sequences wait, which run, and what of them goes next. It decides, runs nothing.

Sequences that write go first, one token each; prompts fill what is left of a pass, in pieces where
they are long, so that they hold up nobody's next token for long. When blocks run out, the sequence
that began last gives its own back and waits again, with all it has written.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence as Group
from dataclasses import dataclass

from torchloom.engine import Occupancy
from torchloom_models.llm.cache.pool import Move, Pool
from torchloom_models.llm.draft.table import DraftTable
from torchloom_models.llm.prompt_lookup import PromptLookup
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """The most tokens of prompts in one pass: with nobody else, and beside sequences that write.

    Beside those, each sequence that does not write yet brings `beside` tokens, up to `alone`: one
    long prompt holds up the others' tokens for a moment only, and many prompts come to writing in
    few passes, since a pass in which many write takes hardly longer than one in which few do.
    """

    alone: int
    beside: int


class Scheduler:
    """Two lists: sequences wait in the order of their coming, and run from their first span on.

    A sequence has blocks exactly while it runs. `max_draft` is how many tokens are guessed at once
    for a sequence that writes, `max_drafts` for all of them in one pass, as far as a budget and
    free blocks allow it; `max_scored` is how many tokens of one pass may have logits after them
    beside the last of each span. Where nothing is guessed, spans are given room for what a draft
    model guesses, as far as its table, `draft`, allows it.
    """

    def __init__(
        self,
        pool: Pool,
        *,
        num_rows: int,
        max_draft: int = 0,
        max_drafts: int = 0,
        max_scored: int = 0,
        draft: DraftTable | None = None,
    ) -> None:
        self.num_rows = num_rows
        #: How often a sequence has given its blocks back before its end.
        self.num_preemptions = 0
        self._is_stuck = False
        self._pool = pool
        self._max_draft = max_draft
        self._max_drafts = max_drafts
        self._max_scored = max_scored
        self._draft = draft
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []

    @property
    def running(self) -> Group[Sequence]:
        """The sequences that hold blocks."""
        return self._running

    @property
    def moves(self) -> deque[Move]:
        """The copies that must be made, in this order, before the pass that was planned.

        Whoever has made one takes it out.
        """
        return self._pool.moves

    @property
    def occupancy(self) -> Occupancy:
        """How full it is."""
        pool = self._pool
        num_free = pool.num_free - pool.num_kept
        return Occupancy(
            is_full=self.is_full,
            num_waiting=len(self._waiting),
            num_preemptions=self.num_preemptions,
            blocks={
                "held": pool.num_blocks - pool.num_free,
                "kept": pool.num_kept,
                "free": num_free,
            },
        )

    @property
    def is_full(self) -> bool:
        """Whether, as of the last pass, there was no room for the first of those that wait."""
        return self._is_stuck and bool(self._waiting)

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its turn."""
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it stands; its blocks are free at once."""
        if sequence.blocks:
            self._running.remove(sequence)
            self._give_back(sequence)
        else:
            self._waiting.remove(sequence)

    def discard(self, sequence: Sequence) -> list[int]:
        """Forget a sequence whose blocks hold what is no number; give those to be wiped."""
        broken = self._pool.forget(sequence.blocks)
        self.remove(sequence)
        return broken

    def plan(self, budget: Budget) -> list[Span]:
        """Give what goes through the next pass; empty when there is nothing to do."""
        self._pool.compact(self._running)
        spans = self._next_tokens(self._draft_budget(budget))
        left = self._prompt_budget(budget) if spans else budget.alone
        left -= sum(len(span.draft) + span.room for span in spans)
        for sequence in [each for each in self._running if each.num_left > 1]:
            left -= self._add_piece(spans, sequence, left)
        self._is_stuck = False
        while left > 0 and self._waiting:
            # The first is passed by nobody, however small: it would starve behind those that fit.
            self._is_stuck = not self._begin(self._waiting[0])
            if self._is_stuck:
                break
            left -= self._add_piece(spans, self._running[-1], left)
        return spans

    def advance(self, spans: Group[Span]) -> None:
        """Note that spans have been run: blocks hold them now, and full ones can be shared."""
        for span in spans:
            span.sequence.num_held = span.end
            self._pool.note(span.sequence)

    def _next_tokens(self, max_drafts: int) -> list[Span]:
        """Give the spans of all that write, with so many guessed tokens at most."""
        writing = [each for each in self._running if each.num_left == 1]
        # One that has given its blocks back for another meanwhile waits.
        ready = [each for each in writing if each.blocks and self._has_room(each)]
        share = max_drafts // max(len(ready), 1)
        return [self._next_token(sequence, share, len(ready)) for sequence in ready]

    def _next_token(self, sequence: Sequence, share: int, num_writers: int) -> Span:
        """Give the span of one that writes, with a draft or with room for one, if it has any."""
        span = Span(sequence, sequence.num_held, sequence.length)
        most = min(share, sequence.max_tokens - len(sequence.tokens) - 1)
        draft = self._guess(sequence, min(self._max_draft, most))
        if draft:
            return span._replace(draft=draft, guesser=sequence.lookup)
        if self._draft is None or most <= 0:
            return span
        room = min(self._draft.limit(sequence, num_writers), most)
        has_room = room and self._pool.make_room(sequence, sequence.length + room)
        return span._replace(room=room) if has_room else span

    def _prompt_budget(self, budget: Budget) -> int:
        """Give how many tokens of prompts go beside those that write."""
        num_prompts = sum(each.num_left > 1 for each in self._running)
        num_prompts += min(len(self._waiting), self.num_rows - len(self._running))
        return max(min(budget.beside * num_prompts, budget.alone), budget.beside)

    def _draft_budget(self, budget: Budget) -> int:
        """Give how many tokens may be guessed; prompts, where there are any, keep half."""
        is_shared = self._waiting or any(each.num_left > 1 for each in self._running)
        return min(budget.beside // 2 if is_shared else budget.beside, self._max_drafts)

    def _guess(self, sequence: Sequence, limit: int) -> Group[int]:
        """Guess tokens that were there before, as many as free blocks have room for."""
        if limit <= 0:
            return ()
        if sequence.lookup is None:
            sequence.lookup = PromptLookup()
        draft = sequence.lookup.guess(sequence.ids, limit)
        return draft if self._pool.make_room(sequence, sequence.length + len(draft)) else ()

    def _has_room(self, sequence: Sequence) -> bool:
        """Give a sequence room for its newest token, unless it must give back all it has."""
        while not self._pool.make_room(sequence, sequence.length):
            youngest = self._running.pop()
            self._give_back(youngest)
            self._waiting.appendleft(youngest)
            self.num_preemptions += 1
            if youngest is sequence:
                return False
        return True

    def _begin(self, sequence: Sequence) -> bool:
        """Let the sequence that waits longest run, if there are blocks for all its tokens.

        Each that runs keeps a block to grow by, where it will need it, and so does this one: what
        begins is not put back at once.
        """
        if len(self._running) == self.num_rows:
            return False
        pool = self._pool
        growing = sum(_may_grow(pool, each, len(each.blocks)) for each in self._running)
        growing += _may_grow(pool, sequence, pool.num_needed(sequence.length))
        # Tokens that are not run have no logits: whoever lacks some of them shares nothing.
        if not pool.begin(sequence, num_spare=growing, may_share=not _lacks_logits(sequence)):
            return False
        self._running.append(self._waiting.popleft())
        if not sequence.has_begun:
            sequence.has_begun, sequence.num_cached = True, sequence.num_held
        return True

    def _add_piece(self, spans: list[Span], sequence: Sequence, left: int) -> int:
        """Add as much of a prompt as a budget has left; give the number of its tokens."""
        count = min(sequence.num_left, left)
        is_scored = _lacks_logits(sequence)
        if is_scored:
            num_extra = sum(span.num_kept - 1 + span.room for span in spans)
            count = min(count, 1 + max(self._max_scored - num_extra, 0))
        if count > 0:
            start = sequence.num_held
            spans.append(Span(sequence, start, start + count, is_scored=is_scored))
        return count

    def _give_back(self, sequence: Sequence) -> None:
        if self._draft is not None:
            self._draft.release(sequence)
        self._pool.release(sequence.blocks)
        sequence.blocks, sequence.content = [], sequence.root
        sequence.num_held = sequence.num_published = 0

    def check(self) -> None:
        """Assert the invariant: blocks are held by exactly those that run, enough for each."""
        self._pool.check(sequence.blocks for sequence in self._running)
        for sequence in self._running:
            assert self._pool.num_needed(sequence.num_held) <= len(sequence.blocks), repr(sequence)
            assert sequence.blocks, repr(sequence)
        assert not any(sequence.blocks for sequence in self._waiting), repr(self)
        assert len(self._running) <= self.num_rows, repr(self)
        if self._draft is not None:
            self._draft.check(self._running)

    def __repr__(self) -> str:
        """Say who waits and who runs."""
        counts = f"{len(self._waiting)} waiting, {len(self._running)} running"
        return f"<Scheduler {counts}, {self._pool!r}>"


def _may_grow(pool: Pool, sequence: Sequence, num_blocks: int) -> bool:
    """Whether a sequence may come to need more than so many blocks."""
    return pool.num_needed(len(sequence.prompt) + sequence.max_tokens) > num_blocks


def _lacks_logits(sequence: Sequence) -> bool:
    """Whether there must be logits after each token of its prompt."""
    return sequence.report is not None and sequence.report.lacks_prompt
