"""Penalty: how tokens seen before, biases and `min_tokens` change the logits of one batch.

Made anew when the batch changes hands, and brought up to date token by token between. Knows no
drawing. Order and formulas are those of transformers' logits processors; presence and frequency
penalties are OpenAI's.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows

import torch

from torchloom_models.llm.sequence import Sequence


class Penalty:
    """What is added to and taken from the logits [rows, vocabulary] of these sequences."""

    def __init__(
        self,
        sequences: Rows[Sequence],
        *,
        vocabulary_size: int,
        end_tokens: Rows[int],
        device: torch.device | str,
    ) -> None:
        self._sequences = sequences
        self._device = device
        self._end_tokens = torch.tensor(sorted(end_tokens), dtype=torch.long, device=device)
        self._bias = self._make_bias()
        self._rows = [row for row, item in enumerate(sequences) if item.params.has_penalties]
        if self._rows:
            self._make_counts(vocabulary_size)

    def _make_bias(self) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor] | None:
        entries = [
            (row, token, bias)
            for row, sequence in enumerate(self._sequences)
            for token, bias in sequence.params.logit_bias.items()
        ]
        if not entries:
            return None
        rows, tokens, biases = zip(*entries, strict=True)
        return (
            torch.tensor(rows, device=self._device),
            torch.tensor(tokens, device=self._device),
            torch.tensor(biases, dtype=torch.float32, device=self._device),
        )

    def _make_counts(self, vocabulary_size: int) -> None:
        sequences = [self._sequences[row] for row in self._rows]
        self._row_index = torch.tensor(self._rows, device=self._device)
        self._repetition = self._column([item.params.repetition_penalty for item in sequences])
        self._presence = self._column([item.params.presence_penalty for item in sequences])
        self._frequency = self._column([item.params.frequency_penalty for item in sequences])
        self._written = torch.stack([_count(item.tokens, vocabulary_size) for item in sequences])
        prompts = torch.stack([_count(item.prompt, vocabulary_size) for item in sequences])
        self._seen = ((self._written + prompts) > 0).to(self._device)
        self._written = self._written.to(self._device)

    def _column(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

    def apply(self, logits: torch.Tensor) -> torch.Tensor:
        """Change logits [rows, vocabulary] (float32) in place, and give them back."""
        if self._bias is not None:
            rows, tokens, biases = self._bias
            logits.index_put_((rows, tokens), biases, accumulate=True)
        if self._rows:
            self._apply_counts(logits)
        young = [row for row, item in enumerate(self._sequences) if not item.may_end]
        if young and self._end_tokens.numel():
            index = torch.tensor(young, device=self._device)[:, None]
            logits[index, self._end_tokens] = float("-inf")
        return logits

    def _apply_counts(self, logits: torch.Tensor) -> None:
        scores = logits[self._row_index]
        penalized = torch.where(scores < 0, scores * self._repetition, scores / self._repetition)
        scores = torch.where(self._seen, penalized, scores)
        scores -= self._presence * (self._written > 0) + self._frequency * self._written
        logits[self._row_index] = scores

    def note(self, tokens: torch.Tensor) -> None:
        """Take the tokens [rows] that were drawn into account."""
        if not self._rows:
            return
        drawn = tokens[self._row_index, None]
        self._written.scatter_add_(1, drawn, torch.ones_like(drawn, dtype=self._written.dtype))
        self._seen.scatter_(1, drawn, True)


def _count(tokens: Rows[int], vocabulary_size: int) -> torch.Tensor:
    index = torch.tensor(tokens, dtype=torch.long)
    return torch.bincount(index, minlength=vocabulary_size).to(torch.float32)
