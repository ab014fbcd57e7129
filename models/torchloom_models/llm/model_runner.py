"""ModelRunner: passes over whole prompts and over single tokens. Knows no scheduling or text."""

from __future__ import annotations

from collections.abc import Sequence as Group

import torch
from transformers import PreTrainedModel

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.llm.attention import PrefillCache, ProbeCache
from torchloom_models.llm.decode_step import DecodeStep
from torchloom_models.llm.kv_cache import KvCache, LayerShape
from torchloom_models.llm.runner import newest_tokens
from torchloom_models.llm.sequence import Sequence


@torch.inference_mode()
def probe_layers(model: PreTrainedModel) -> list[LayerShape]:
    """Find out what each layer keeps of a token, by running one.

    Whatever a model does that the attention here does not serve comes out as the error it raises.
    """
    cache = ProbeCache()
    token = torch.zeros((1, 1), dtype=torch.long, device=model.device)
    model(input_ids=token, position_ids=token, past_key_values=cache, use_cache=True)
    return cache.shapes


class ModelRunner:
    """A model over a cache: a Runner."""

    def __init__(
        self, model: PreTrainedModel, cache: KvCache, decode_step: DecodeStep, *, device: str
    ) -> None:
        self._model = model
        self._cache = cache
        self._decode_step = decode_step
        self._device = device

    @property
    def num_slots(self) -> int:
        """How many sequences there is room for."""
        return self._cache.num_slots

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        return self._cache.max_length

    def padded_rows(self, num_rows: int) -> int:
        """Give the number of rows that a decode pass over so many is run with."""
        return self._decode_step.padded_rows(num_rows)

    @torch.inference_mode()
    def decode(self, sequences: Group[Sequence], num_rows: int) -> torch.Tensor:
        """Run the newest token of each sequence; give logits [sequences, vocabulary].

        The pass covers slots 0 … `num_rows` - 1 at least. Free slots among them run along: what
        they write goes to their position 0, which their next owner's prompt overwrites.
        """
        num_rows = self._decode_step.padded_rows(num_rows)
        tokens, positions, slots = newest_tokens(sequences, num_rows)
        length = self._decode_step.padded_length(max(positions) + 1)
        # No inference tensors, as in the warm-up: torch.compile has other code for those.
        with torch.inference_mode(mode=False):
            rows = torch.tensor([tokens, positions], device=self._device)
        logits = self._decode_step(rows[0], rows[1], self._cache.view(num_rows, length))
        return logits if slots == list(range(num_rows)) else logits[slots]

    @torch.inference_mode()
    def prefill(self, sequences: Group[Sequence]) -> torch.Tensor:
        """Run whole prompts together; give logits [sequences, vocabulary] after the last tokens."""
        prompts = [sequence.prompt for sequence in sequences]
        length = max(len(prompt) for prompt in prompts)
        padded = [[*prompt, *[0] * (length - len(prompt))] for prompt in prompts]
        slots = [sequence.slot for sequence in sequences]
        ends = [[len(prompt) - 1] for prompt in prompts]
        cache = PrefillCache(
            self._cache.view(self._cache.num_slots, self._cache.max_length),
            torch.tensor(slots, device=self._device),
        )
        output = self._model(
            input_ids=torch.tensor(padded, device=self._device),
            position_ids=torch.arange(length, device=self._device)[None].expand(len(slots), -1),
            past_key_values=cache,
            use_cache=True,
            logits_to_keep=torch.tensor(ends, device=self._device),
        )
        logits: torch.Tensor = output.logits[:, -1]
        return logits

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot to another one."""
        self._cache.move(source, target, length)

    def clear(self, slot: int) -> None:
        """Wipe a slot that may hold NaN."""
        self._cache.clear(slot)

    def warm_up(self, report: Report) -> None:
        """Compile before the first request."""
        self._decode_step.warm_up(report)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return self._decode_step.code_status()

    def close(self) -> None:
        """End what still compiles."""
        self._decode_step.close()
