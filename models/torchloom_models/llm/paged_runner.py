"""PagedRunner: passes by OpenVINO's kernel for attention over a cache in pages.

One piece of code serves prompts and single tokens, of any lengths, and pads nothing. Knows no
scheduling and no text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Group
from itertools import accumulate
from typing import NamedTuple, cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.compile import Dim
from torchloom_models.llm.adapter.adapter import NO_PLACE
from torchloom_models.llm.adapter.stack import Mixer
from torchloom_models.llm.cache.block_pool import BlockPool
from torchloom_models.llm.cache.kv_cache import CacheSize
from torchloom_models.llm.cache.paged_cache import PagedCache, num_blocks
from torchloom_models.llm.cache.pool import Move
from torchloom_models.llm.paged_pass import PagedPass
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span
from torchloom_models.paged_attention import BLOCK_SIZE
from torchloom_models.recipe import Recipe


#: The most tokens after which one pass gives logits, unless there are more slots.
_MAX_KEPT = 256

#: The most blocks of a cache that code is made for.
_MAX_BLOCKS = 2**30


class Row(NamedTuple):
    """New tokens of a sequence, after `start` others, and the blocks that have room for all.

    `place` is that of its adapter.
    """

    tokens: Group[int]
    start: int
    blocks: Group[int]
    place: int = NO_PLACE

    @property
    def end(self) -> int:
        """How many tokens the blocks hold after them."""
        return self.start + len(self.tokens)


class PagedRunner:
    """A model over a cache in pages: a Runner."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: PagedCache,
        recipe: Recipe,
        *,
        size: CacheSize,
        windows: Group[int],
        mixer: Mixer,
    ) -> None:
        self._cache = cache
        self._size = size
        self._mixer = mixer
        self._eager = mixer.wrap(PagedPass(model, windows))
        dims = _dims(cache, size)
        # Each token is a row to the model.
        self._pass = recipe.compile(self._eager, dims=mixer.dims(dims[0], dims))

    @property
    def num_rows(self) -> int:
        """How many sequences one pass takes."""
        return self._size.num_slots

    @property
    def max_draft(self) -> int:
        """How many guessed tokens one pass takes."""
        return max(0, _MAX_KEPT - self.num_rows)

    @property
    def max_scored(self) -> int:
        """After how many tokens beside the last of each span one pass gives logits."""
        return self.max_draft

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        return self._size.max_length

    def make_pool(self, *, is_shared: bool) -> BlockPool:
        """Say which blocks there are: any sequence may take any of them."""
        return BlockPool(self._cache.num_blocks, BLOCK_SIZE, is_shared=is_shared)

    def run(self, spans: Group[Span], running: Group[Sequence]) -> Tensor:
        """Run spans of any lengths in one pass; give logits after those of `num_kept`."""
        del running  # nothing is run but the spans
        rows = [
            Row(span.tokens, span.start, span.sequence.blocks, span.sequence.place)
            for span in spans
        ]
        ends = accumulate(span.num_tokens for span in spans)
        kept = [
            row
            for span, end in zip(spans, ends, strict=True)
            for row in range(end - span.num_kept, end)
        ]
        return self.run_rows(rows, kept=kept)

    @torch.inference_mode()
    def run_rows(self, rows: Group[Row], *, kept: Group[int] | None = None) -> Tensor:
        """Run rows one after the other; give logits after some of their tokens.

        Without `kept` these are the last token of each row.
        """
        return cast("Tensor", self._pass(*self._arguments(rows, kept=kept)))

    def move(self, move: Move) -> None:
        """Do nothing: blocks are shared where they lie."""

    def clear(self, blocks: Group[int]) -> None:
        """Wipe blocks that may hold NaN."""
        self._cache.clear(blocks)

    def warm_up(self, report: Report) -> None:
        """Convert and compile before the first request."""
        rows = [Row([0], 0, [block]) for block in range(min(self.num_rows, self._cache.num_blocks))]
        self._pass.warm_up([self._arguments(rows)], report)

    @torch.inference_mode()
    def perplexities(self, tokens: Group[int]) -> tuple[float, float]:
        """Give the perplexity of a text by the model as it is, and by OpenVINO's code.

        It goes through the first blocks, which nobody may hold.
        """
        text = list(tokens[: min(_MAX_KEPT, self.max_length)])
        row = Row(text, 0, range(num_blocks(len(text))))
        arguments = self._arguments([row], kept=range(len(text) - 1))
        full, found = (
            cross_entropy(cast("Tensor", run(*arguments)).float(), torch.tensor(text[1:]))
            for run in (self._eager, self._pass)
        )
        return math.exp(full.item()), math.exp(found.item())

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return [self._pass.status()]

    def close(self) -> None:
        """Give back what was not to be kept."""
        self._pass.close()

    def _arguments(self, rows: Group[Row], *, kept: Group[int] | None = None) -> tuple[Tensor, ...]:
        """Put rows one after the other, as PagedPass has it; without `kept`, their last tokens."""
        begins = [0, *accumulate(len(row.tokens) for row in rows)]
        tables = [row.blocks[: num_blocks(row.end)] for row in rows]
        places = [row.place for row in rows for _ in row.tokens]
        arguments = (
            torch.tensor([token for row in rows for token in row.tokens]),
            torch.tensor([place for row in rows for place in range(row.start, row.end)]),
            torch.tensor([end - 1 for end in begins[1:]] if kept is None else list(kept)),
            _int32([row.start for row in rows]),
            _int32(begins),
            _int32([block for table in tables for block in table]),
            _int32([0, *accumulate(len(table) for table in tables)]),
            _int32(max(row.end for row in rows)),
            *self._cache.buffers,
        )
        return self._mixer.arguments(places, arguments)


def _dims(cache: PagedCache, size: CacheSize) -> list[dict[int, Dim]]:
    """Say which sizes vary: the numbers of tokens, of those that are kept, of rows, of blocks.

    The size of the cache varies too: it may follow from the memory that is free, and code that is
    kept is to be found again.
    """
    slots = size.num_slots
    tokens = Dim("tokens", max=slots * size.max_length)
    kept = Dim("kept", max=max(_MAX_KEPT, slots))
    # Sequences that share a block name it each in its own table.
    most_named = slots * num_blocks(size.max_length)
    blocks = Dim("blocks", max=most_named)
    pool = Dim("pool", max=_MAX_BLOCKS)
    rows = {0: Dim("rows", max=slots)} if slots > 1 else {}
    ends = {0: Dim("ends", min=2, max=slots + 1)} if slots > 1 else {}
    return [
        {0: tokens},
        {0: tokens},
        {0: kept},
        rows,
        ends,
        {0: blocks} if most_named > 1 else {},
        ends,
        {},
        *[{0: pool} if cache.num_blocks > 1 else {}] * len(cache.buffers),
    ]


def _int32(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)
