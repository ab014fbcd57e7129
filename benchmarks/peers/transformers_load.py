"""Peers under a load of text: transformers' `generate`, and its continuous batching.

`python -m benchmarks.peers.transformers_load FOLDER DTYPE generate|continuous`; see `token_load`.
"""

from __future__ import annotations

import sys
from itertools import count

import torch
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    PreTrainedTokenizerBase,
)

from benchmarks.peers.token_load import Tell, serve


class Generate:
    """Takes all that wait as one batch, and answers it to its end."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._model, self._tokenizer = model, tokenizer
        self._waiting: list[tuple[int, str, int]] = []

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        self._waiting.append((number, prompt, tokens))

    @torch.inference_mode()
    def step(self, tell: Tell) -> None:
        """Answer all that wait."""
        batch, self._waiting = self._waiting, []
        inputs = self._tokenizer(
            [prompt for _, prompt, _ in batch], return_tensors="pt", padding=True
        )
        inputs.pop("token_type_ids", None)
        tokens = batch[0][2]
        telling = _Telling([number for number, _, _ in batch], tell)
        self._model.generate(  # type: ignore[operator]  # transformers types it as a tensor
            **inputs,
            do_sample=False,
            min_new_tokens=tokens,
            max_new_tokens=tokens,
            logits_processor=LogitsProcessorList([telling]),
        )
        for number, _, _ in batch:
            tell(number, True)


class _Telling(LogitsProcessor):
    """Is called for each token but the first of a batch: the one before is there."""

    def __init__(self, numbers: list[int], tell: Tell) -> None:
        self._numbers, self._tell = numbers, tell
        self._calls = count()

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        if next(self._calls):
            for number in self._numbers:
                self._tell(number, False)
        return scores


class Continuous:
    """The manager's thread answers; a step waits for what it says."""

    def __init__(self, model: PreTrainedModel, tokenizer: PreTrainedTokenizerBase) -> None:
        self._tokenizer = tokenizer
        config = GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=1)
        self._manager = model.init_continuous_batching(generation_config=config)  # type: ignore[operator]
        self._manager.start()
        self._numbers: dict[str, int] = {}
        self._told: dict[int, int] = {}

    def admit(self, number: int, prompt: str, tokens: int) -> None:
        """Take a request."""
        ids = self._tokenizer(prompt).input_ids
        name = self._manager.add_request(ids, max_new_tokens=tokens, streaming=True)
        self._numbers[name] = number
        self._told[number] = 0

    def step(self, tell: Tell) -> None:
        """Wait for the next that is said."""
        said = self._manager.get_result(timeout=60)
        if said is None:
            raise RuntimeError("Continuous batching says nothing any more.")
        number = self._numbers[said.request_id]
        is_over = said.is_finished()
        new = len(said.generated_tokens) - self._told[number]
        self._told[number] += new
        for place in range(new):
            tell(number, is_over and place == new - 1)

    def close(self) -> None:
        """End the thread."""
        self._manager.stop(block=True)


def main() -> None:
    """Serve one of them."""
    folder, dtype, way = sys.argv[1:]
    tokenizer = AutoTokenizer.from_pretrained(folder, padding_side="left")
    model = AutoModelForCausalLM.from_pretrained(
        folder, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    ).eval()
    if way == "generate":
        serve(Generate(model, tokenizer))
        return
    side = Continuous(model, tokenizer)
    serve(side)
    side.close()


if __name__ == "__main__":
    main()
