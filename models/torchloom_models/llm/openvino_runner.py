"""OpenvinoRunner: passes by OpenVINO's code, which reads the cache; what is new is written here.

One piece of code, and so one copy of the weights, serves prompts and single tokens, every number of
rows and every length. Knows no scheduling and no text.
"""

from __future__ import annotations

import math
from collections.abc import Sequence as Group
from typing import cast

import torch
from torch import Tensor
from torch.nn.functional import cross_entropy
from transformers import PreTrainedModel

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.buckets import rounded_up
from torchloom_models.compile import Dim
from torchloom_models.llm.adapter.adapter import NO_PLACE
from torchloom_models.llm.adapter.stack import Mixer
from torchloom_models.llm.cache.kv_cache import KvCache
from torchloom_models.llm.functional_pass import FunctionalPass
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.slot_runner import SlotRunner, padded
from torchloom_models.llm.span import Span
from torchloom_models.recipe import Recipe


#: Passes attend to a multiple of so many positions, and prompts are padded to one of so many
#: tokens: each new shape costs OpenVINO some preparation.
_LENGTH_STEP, _PROMPT_STEP = 64, 16

#: The fewest positions of the cache that code takes; as traced, 1 would hold for 1 alone.
_MIN_LENGTH = 2

#: The most tokens after which one pass gives logits.
_MAX_KEPT = 256


class OpenvinoRunner(SlotRunner):
    """A model over a cache: a Runner."""

    def __init__(
        self, model: PreTrainedModel, cache: KvCache, recipe: Recipe, mixer: Mixer
    ) -> None:
        super().__init__(cache)
        self._mixer = mixer
        self._eager = mixer.wrap(FunctionalPass(model))
        rows = {0: Dim("rows", max=cache.num_slots)} if cache.num_slots > 1 else {}
        new = Dim("new", max=cache.max_length)
        length = Dim("length", min=_MIN_LENGTH, max=cache.max_length)
        kept = Dim("kept", max=max(_MAX_KEPT, cache.num_slots))
        buffers = [{**rows, 2: length}] * (2 * cache.num_layers)
        dims = mixer.dims(rows, [{**rows, 1: new}, rows, {0: kept}, *buffers])
        self._pass = recipe.compile(self._eager, dims=dims)

    def row_bucket(self, num_rows: int) -> int:
        """Give the number itself: rows need no padding."""
        return num_rows

    def _run_single(self, spans: Group[Span], running: Group[Sequence]) -> Tensor:
        """Run all slots up to the highest of these."""
        num_rows = 1 + max(span.sequence.blocks[0] for span in spans)
        tokens, positions, places, slots = self._single_tokens(spans, running, num_rows)
        length = rounded_up(max(positions), _LENGTH_STEP, self._cache.max_length)
        starts = torch.tensor(positions)
        logits, *written = self._run(
            torch.tensor(tokens)[:, None],
            starts,
            torch.zeros(1, dtype=torch.long),
            self._cache.view(num_rows, length),
            places,
        )
        self._cache.write(torch.arange(num_rows), starts[:, None], written)
        return logits[slots, 0]

    def _run_longer(self, spans: Group[Span]) -> Tensor:
        """Run them; each row's own last token is one of those that all have logits after."""
        logits = self._run_padded(spans, torch.tensor([span.num_tokens - 1 for span in spans]))
        every = torch.arange(len(spans))
        return logits[every, every]

    def _run_scored(self, span: Span) -> Tensor:
        """Run one span, with logits after each of its tokens."""
        return self._run_padded([span], torch.arange(span.num_tokens))[0]

    def _run_padded(self, spans: Group[Span], kept: Tensor) -> Tensor:
        """Run spans after copies of what their slots hold; give logits [spans, kept, …]."""
        longest = max(span.num_tokens for span in spans)
        length = rounded_up(longest, _PROMPT_STEP, self._cache.max_length)
        slots = torch.tensor([span.sequence.blocks[0] for span in spans])
        starts = torch.tensor([span.start for span in spans])
        num_held = max(span.start for span in spans)
        held = rounded_up(max(num_held, 1), _LENGTH_STEP, self._cache.max_length)
        buffers = self._cache.take(slots, held) if num_held else self._nothing(len(spans))
        tokens = torch.tensor(padded(spans, length))
        places = [span.sequence.place for span in spans]
        logits, *written = self._run(tokens, starts, kept, buffers, places)
        targets = (starts[:, None] + torch.arange(length)).clamp(max=self._cache.max_length)
        self._cache.write(slots, targets, written)
        return logits

    def warm_up(self, report: Report) -> None:
        """Convert and compile before the first request."""
        rows = self._cache.num_slots
        length = rounded_up(4 * _LENGTH_STEP, _LENGTH_STEP, self._cache.max_length)
        tokens = torch.zeros((rows, 1), dtype=torch.long)
        starts, kept = torch.zeros(rows, dtype=torch.long), torch.zeros(1, dtype=torch.long)
        arguments = (tokens, starts, kept, *self._cache.view(rows, length))
        self._pass.warm_up([self._mixer.arguments([NO_PLACE] * rows, arguments)], report)

    @torch.inference_mode()
    def perplexities(self, tokens: Group[int]) -> tuple[float, float]:
        """Give the perplexity of a text by the model as it is, and by OpenVINO's code."""
        length = min(len(tokens), _MAX_KEPT, self._cache.max_length)
        text = torch.tensor([tokens[:length]])
        starts, kept = torch.zeros(1, dtype=torch.long), torch.arange(length)
        own = (text, starts, kept, *self._nothing(1))
        arguments = self._mixer.arguments([NO_PLACE], own)
        full, found = (
            cross_entropy(cast("Group[Tensor]", run(*arguments))[0][0, :-1].float(), text[0, 1:])
            for run in (self._eager, self._pass)
        )
        return math.exp(full.item()), math.exp(found.item())

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return [self._pass.status()]

    def close(self) -> None:
        """Give back what was not to be kept."""
        self._pass.close()

    def _nothing(self, num_rows: int) -> Group[Tensor]:
        """Give as little of the cache as code takes, for rows that start: they attend to none."""
        return self._cache.view(num_rows, _MIN_LENGTH)

    def _run(
        self,
        tokens: Tensor,
        starts: Tensor,
        kept: Tensor,
        buffers: Group[Tensor],
        places: Group[int],
    ) -> Group[Tensor]:
        arguments = self._mixer.arguments(places, (tokens, starts, kept, *buffers))
        return cast("Group[Tensor]", self._pass(*arguments))
