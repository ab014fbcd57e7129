"""ModelRunner: a model's own passes over prompts, and a compiled one over single tokens.

Knows no scheduling and no text.
"""

from __future__ import annotations

from collections.abc import Sequence as Group

import torch
from transformers import PreTrainedModel

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.llm.adapter.stack import Mixer
from torchloom_models.llm.attention import PieceCache, PrefillCache, ProbeCache
from torchloom_models.llm.cache.kv_cache import KvCache, LayerShape
from torchloom_models.llm.decode_step import DecodeStep
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.slot_runner import SlotRunner, padded
from torchloom_models.llm.span import Span


@torch.inference_mode()
def probe_layers(model: PreTrainedModel) -> list[LayerShape]:
    """Find out what each layer keeps of a token, by running one.

    Whatever a model does that the attention here does not serve comes out as the error it raises.
    """
    cache = ProbeCache()
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    model(input_ids=token, position_ids=token, past_key_values=cache, use_cache=True)
    return cache.shapes


class ModelRunner(SlotRunner):
    """A model over a cache: a Runner."""

    def __init__(
        self,
        model: PreTrainedModel,
        cache: KvCache,
        decode_step: DecodeStep,
        *,
        device: str,
        mixer: Mixer,
    ) -> None:
        super().__init__(cache)
        self._mixer = mixer
        self._model = model
        self._decode_step = decode_step
        self._device = device

    def row_bucket(self, num_rows: int) -> int:
        """Give the number of rows that a decode pass over so many is run with."""
        return self._decode_step.padded_rows(num_rows)

    def _run_single(self, spans: Group[Span], running: Group[Sequence]) -> torch.Tensor:
        """Run the compiled step over all slots up to the highest of these."""
        num_rows = self.row_bucket(1 + max(span.sequence.blocks[0] for span in spans))
        tokens, positions, places, slots = self._single_tokens(spans, running, num_rows)
        length = self._decode_step.padded_length(max(positions) + 1)
        # No inference tensors, as in the warm-up: torch.compile has other code for those.
        with torch.inference_mode(mode=False):
            rows = torch.tensor([tokens, positions], device=self._device)
        buffers = self._cache.view(num_rows, length)
        logits = self._decode_step(rows[0], rows[1], buffers, places)
        return logits if slots == list(range(num_rows)) else logits[slots]

    def _run_longer(self, spans: Group[Span]) -> torch.Tensor:
        """Run the model as it is; whole prompts attend to themselves alone."""
        length = max(span.num_tokens for span in spans)
        starts = torch.tensor([span.start for span in spans], device=self._device)
        positions = starts[:, None] + torch.arange(length, device=self._device)
        ends = [[span.num_tokens - 1] for span in spans]
        with self._mixer.using([span.sequence.place for span in spans]):
            output = self._model(
                input_ids=torch.tensor(padded(spans, length), device=self._device),
                position_ids=positions.clamp(max=self.max_length - 1),
                past_key_values=self._prompt_cache(spans, positions),
                use_cache=True,
                logits_to_keep=torch.tensor(ends, device=self._device),
            )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def _run_scored(self, span: Span) -> torch.Tensor:
        """Run the model as it is, with all of its logits."""
        positions = torch.arange(span.start, span.end, device=self._device)[None]
        with self._mixer.using([span.sequence.place]):
            output = self._model(
                input_ids=torch.tensor([span.tokens], device=self._device),
                position_ids=positions,
                past_key_values=self._prompt_cache([span], positions),
                use_cache=True,
            )
        logits: torch.Tensor = output.logits[0]
        return logits

    def _prompt_cache(self, spans: Group[Span], positions: torch.Tensor) -> PrefillCache:
        # One position more than is ever used takes the padding that goes beyond the last one.
        buffers = self._cache.view(self._cache.num_slots, self.max_length + 1)
        slots = torch.tensor([span.sequence.blocks[0] for span in spans], device=self._device)
        if not any(span.start for span in spans):
            return PrefillCache(buffers, slots)
        # Padding behind a span has keys of its own too: attending to none gives NaN.
        longest = max(span.start for span in spans) + positions.shape[1]
        return PieceCache(buffers, slots, positions, min(longest, self.max_length + 1))

    def warm_up(self, report: Report) -> None:
        """Compile before the first request."""
        self._decode_step.warm_up(report)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return self._decode_step.code_status()

    def close(self) -> None:
        """End what still compiles."""
        self._decode_step.close()
