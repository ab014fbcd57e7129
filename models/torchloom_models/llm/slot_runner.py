"""SlotRunner: passes over a cache whose blocks, the slots, have room for a whole sequence each.

Single tokens go through one pass over the lowest slots; longer spans through passes of their own,
padded to one length. Knows no scheduling and no text.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence as Group
from typing import NamedTuple

import torch
from torch import Tensor

from torchloom_models.llm.adapter.adapter import NO_PLACE
from torchloom_models.llm.cache.kv_cache import KvCache
from torchloom_models.llm.cache.pool import Move
from torchloom_models.llm.cache.slot_pool import Kept, SlotPool
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span


#: After so many tokens of a span that is scored one pass gives logits.
_MAX_SCORED = 64

#: Spans run together take this many times their own tokens at most, padded to the longest.
_MAX_PADDING = 1.5


class TokenPass(NamedTuple):
    """One token for each slot from 0 on, where it goes, by whose adapter; the slots that count."""

    tokens: list[int]
    positions: list[int]
    places: list[int]
    slots: list[int]


class SlotRunner(ABC):
    """Most of a Runner: what a KvCache leaves open is how single tokens and prompts are run."""

    def __init__(self, cache: KvCache) -> None:
        self._cache = cache
        self._pool: SlotPool | None = None

    @property
    def num_rows(self) -> int:
        """How many sequences one pass takes."""
        return self._cache.num_slots

    @property
    def max_draft(self) -> int:
        """Give 0: a compiled pass takes one token of each sequence."""
        return 0

    @property
    def max_scored(self) -> int:
        """After how many tokens beside the last of each span one pass gives logits."""
        return _MAX_SCORED - 1

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        return self._cache.max_length

    def make_pool(self, *, is_shared: bool) -> SlotPool:
        """Give each sequence one block, which has room for all of it.

        Passes keep what this pool keeps.
        """
        self._pool = SlotPool(
            self._cache.num_slots, bucket_of_rows=self.row_bucket, is_shared=is_shared
        )
        return self._pool

    @abstractmethod
    def row_bucket(self, num_rows: int) -> int:
        """Give the number of rows that a pass over single tokens in so many slots is run with."""

    @abstractmethod
    def _run_single(self, spans: Group[Span], running: Group[Sequence]) -> Tensor:
        """Run spans of one token; give logits [spans, vocabulary]."""

    @abstractmethod
    def _run_longer(self, spans: Group[Span]) -> Tensor:
        """Run spans padded to one length; give logits [spans, vocabulary] after their last."""

    @abstractmethod
    def _run_scored(self, span: Span) -> Tensor:
        """Run one span; give logits [tokens, vocabulary] after each of its tokens."""

    @torch.inference_mode()
    def run(self, spans: Group[Span], running: Group[Sequence]) -> Tensor:
        """Run spans of any lengths; give logits after each, and within those that are scored."""
        plain = [span for span in spans if span.num_kept == 1]
        if len(plain) == len(spans):
            return self._run_plain(spans, running)
        # First those that run other slots along: they write behind what these hold.
        rows = iter(self._run_plain(plain, running)[:, None] if plain else ())
        return torch.cat(
            [next(rows) if span.num_kept == 1 else self._run_scored(span) for span in spans]
        )

    def _single_tokens(
        self, spans: Group[Span], running: Group[Sequence], num_rows: int
    ) -> TokenPass:
        """Lay spans of one token out by their slots, beside what runs and what is kept."""
        kept = [] if self._pool is None else self._pool.kept()
        return single_tokens(spans, running, kept, num_rows)

    def _run_plain(self, spans: Group[Span], running: Group[Sequence]) -> Tensor:
        """Run spans of any lengths; give logits [spans, vocabulary] after each."""
        single = [span for span in spans if span.num_tokens == 1]
        groups = by_like_length([span for span in spans if span.num_tokens > 1])
        logits = [self._run_single(single, running)] if single else []
        logits += [self._run_longer(group) for group in groups]
        if len(logits) == 1:
            return logits[0]
        order = [span for group in (single, *groups) for span in group]
        place = {id(span): number for number, span in enumerate(order)}
        return torch.cat(logits)[[place[id(span)] for span in spans]]

    def move(self, move: Move) -> None:
        """Copy what a slot holds to another one, or exchange what both hold."""
        self._cache.move(*move)

    def clear(self, blocks: Group[int]) -> None:
        """Wipe slots that may hold NaN."""
        for slot in blocks:
            self._cache.clear(slot)


def single_tokens(
    spans: Group[Span], running: Group[Sequence], kept: Group[Kept], num_rows: int
) -> TokenPass:
    """Lay spans of one token out by their slots.

    All other slots run along. Of sequences that run, what token 0 writes goes to the first position
    that they do not hold yet, where what comes next overwrites it. Slots that are kept run their
    first token again, which writes what is there: it attends to nothing but itself.
    """
    tokens, positions, places = [0] * num_rows, [0] * num_rows, [NO_PLACE] * num_rows
    for sequence in running:
        if sequence.blocks[0] < num_rows:
            positions[sequence.blocks[0]] = sequence.num_held
    for slot, token, place in kept:
        if slot < num_rows:
            tokens[slot], places[slot] = token, place
    slots = [span.sequence.blocks[0] for span in spans]
    for slot, span in zip(slots, spans, strict=True):
        tokens[slot], places[slot] = span.tokens[0], span.sequence.place
    return TokenPass(tokens, positions, places, slots)


def by_like_length(spans: Group[Span]) -> list[list[Span]]:
    """Put spans together that are not mostly padding when they are padded to one length."""
    groups: list[list[Span]] = []
    longest = num_tokens = 0
    for span in spans:
        longest, num_tokens = max(longest, span.num_tokens), num_tokens + span.num_tokens
        if not groups or (len(groups[-1]) + 1) * longest > _MAX_PADDING * num_tokens:
            groups.append([])
            longest = num_tokens = span.num_tokens
        groups[-1].append(span)
    return groups


def padded(spans: Group[Span], length: int) -> list[list[int]]:
    """Give the tokens of each span, with zeros up to a length."""
    return [[*span.tokens, *[0] * (length - span.num_tokens)] for span in spans]
