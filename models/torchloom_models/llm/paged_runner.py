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
from torchloom_models.llm.paged_cache import PagedCache
from torchloom_models.llm.paged_pass import PagedPass
from torchloom_models.llm.sequence import Sequence
from torchloom_models.recipe import Recipe


#: The most tokens after which one pass gives logits, unless there are more slots.
_MAX_KEPT = 256


class Row(NamedTuple):
    """New tokens of a slot, which holds `start` tokens before them."""

    slot: int
    tokens: Group[int]
    start: int = 0

    @property
    def end(self) -> int:
        """How many tokens the slot holds after them."""
        return self.start + len(self.tokens)


class PagedRunner:
    """A model over a cache in pages: a Runner."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: PagedCache,
        recipe: Recipe,
        *,
        windows: Group[int],
    ) -> None:
        self._cache = cache
        self._eager = PagedPass(model, windows)
        self._pass = recipe.compile(self._eager, dims=_dims(cache))

    @property
    def num_slots(self) -> int:
        """How many sequences there is room for."""
        return self._cache.num_slots

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        return self._cache.max_length

    def padded_rows(self, num_rows: int) -> int:
        """Give the number itself: rows need no padding."""
        return num_rows

    @torch.inference_mode()
    def decode(self, sequences: Group[Sequence], num_rows: int) -> Tensor:
        """Run the newest token of each sequence, and no more; give [sequences, vocabulary]."""
        del num_rows
        return self._run([Row(_slot(each), each.tokens[-1:], each.position) for each in sequences])

    @torch.inference_mode()
    def prefill(self, sequences: Group[Sequence]) -> Tensor:
        """Run whole prompts together; give logits [sequences, vocabulary] after the last tokens."""
        return self._run([Row(_slot(each), each.prompt) for each in sequences])

    def move(self, source: int, target: int, length: int) -> None:
        """Give a slot what another one holds."""
        del length
        self._cache.move(source, target)

    def clear(self, slot: int) -> None:
        """Wipe a slot that may hold NaN."""
        self._cache.clear(slot)

    def warm_up(self, report: Report) -> None:
        """Convert and compile before the first request."""
        rows = [Row(slot, [0]) for slot in range(self.num_slots)]
        self._pass.warm_up([self._arguments(rows)], report)

    @torch.inference_mode()
    def perplexities(self, tokens: Group[int]) -> tuple[float, float]:
        """Give the perplexity of a text by the model as it is, and by OpenVINO's code.

        It goes through the first slot, which nobody may hold.
        """
        text = list(tokens[: min(_MAX_KEPT, self.max_length)])
        arguments = self._arguments([Row(0, text)], kept=range(len(text) - 1))
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

    def _run(self, rows: Group[Row]) -> Tensor:
        return cast("Tensor", self._pass(*self._arguments(rows)))

    def _arguments(self, rows: Group[Row], *, kept: Group[int] | None = None) -> tuple[Tensor, ...]:
        """Put rows one after the other, as PagedPass has it; without `kept`, their last tokens."""
        begins = [0, *accumulate(len(row.tokens) for row in rows)]
        tables = [self._cache.blocks(row.slot, row.end) for row in rows]
        return (
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


def _dims(cache: PagedCache) -> list[dict[int, Dim]]:
    """Say which sizes vary: the numbers of tokens, of those that are kept, of rows, of blocks."""
    slots = cache.num_slots
    tokens = Dim("tokens", max=slots * cache.max_length)
    kept = Dim("kept", max=max(_MAX_KEPT, slots))
    blocks = Dim("blocks", max=cache.num_blocks)
    rows = {0: Dim("rows", max=slots)} if slots > 1 else {}
    ends = {0: Dim("ends", min=2, max=slots + 1)} if slots > 1 else {}
    return [
        {0: tokens},
        {0: tokens},
        {0: kept},
        rows,
        ends,
        {0: blocks} if cache.num_blocks > 1 else {},
        ends,
        {},
        *[{}] * len(cache.buffers),
    ]


def _slot(sequence: Sequence) -> int:
    assert sequence.slot is not None, repr(sequence)
    return sequence.slot


def _int32(values: object) -> Tensor:
    return torch.tensor(values, dtype=torch.int32)
