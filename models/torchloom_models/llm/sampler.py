"""Sampler: the next token of each row of a batch, all rows at once. Knows no text and no slots.

What a row draws depends on its own logits and random stream, never on the rest of the batch.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from math import isfinite
from typing import TYPE_CHECKING

import numpy as np
import torch

from torchloom_models.llm.penalty import Penalty
from torchloom_models.llm.sequence import Sequence


if TYPE_CHECKING:
    from torchloom_models.llm.grammar.mask import GrammarMask

#: How many of the likeliest tokens are looked at first where `top_p` alone says how many count.
_NUM_CANDIDATES = 256


class Sampler:
    """Draws tokens for batches that mostly stay the same from step to step."""

    def __init__(
        self, *, vocabulary_size: int, end_tokens: Rows[int], device: torch.device | str
    ) -> None:
        self._vocabulary_size = vocabulary_size
        self._end_tokens = end_tokens
        self._device = device
        self._key: tuple[Sequence, ...] = ()
        self._is_plain = True
        self._penalty: Penalty | None = None
        self._mask: GrammarMask | None = None
        self._choices: list[_Limited | _Unlimited] = []

    @torch.inference_mode()
    def sample(self, logits: torch.Tensor, sequences: Rows[Sequence]) -> list[int | None]:
        """Give the next token of each sequence, None where there is none.

        There is none where the logits hold NaN or infinity, and where no token fits a grammar.
        `logits` [rows, vocabulary] stay as they are. If it raises, the same sequences can be asked
        for again, in any grouping.
        """
        try:
            return self._sample(logits, sequences)
        except BaseException:
            self._key = ()  # what was prepared may be ahead of the sequences
            for sequence in sequences:
                sequence.put_back()
            raise

    def _sample(self, logits: torch.Tensor, sequences: Rows[Sequence]) -> list[int | None]:
        self._prepare(tuple(sequences))
        if not self._is_plain:
            is_changed = self._penalty is not None or self._mask is not None
            logits = logits.to(torch.float32, copy=is_changed)
            if self._penalty is not None:
                logits = self._penalty.apply(logits)
            if self._mask is not None:
                self._mask.apply(logits)
        best, tokens = _largest(logits)
        for choice in self._choices:
            tokens[choice.rows] = choice.draw(logits[choice.rows])
        if self._penalty is not None:
            self._penalty.note(tokens)
        pairs = zip(tokens.tolist(), best.tolist(), strict=True)
        return [token if isfinite(highest) else None for token, highest in pairs]

    def _prepare(self, key: tuple[Sequence, ...]) -> None:
        """Read the parameters of a new batch. Sequences are equal when they are the same."""
        if key == self._key:
            return
        self._key = key
        self._mask = self._make_mask(key)
        has_penalty = any(
            item.params.has_penalties or item.params.logit_bias or item.params.min_tokens
            for item in key
        )
        self._penalty = (
            Penalty(
                key,
                vocabulary_size=self._vocabulary_size,
                end_tokens=self._end_tokens,
                device=self._device,
            )
            if has_penalty
            else None
        )
        drawing = [(row, item) for row, item in enumerate(key) if not item.params.is_greedy]
        limited = [entry for entry in drawing if _is_limited(entry[1])]
        unlimited = [entry for entry in drawing if not _is_limited(entry[1])]
        self._choices = []
        if limited:
            self._choices.append(_Limited(limited, self._device, self._vocabulary_size))
        if unlimited:
            self._choices.append(_Unlimited(unlimited, self._device))
        self._is_plain = self._penalty is None and self._mask is None and not drawing

    def _make_mask(self, key: tuple[Sequence, ...]) -> GrammarMask | None:
        entries = [(row, item.grammar) for row, item in enumerate(key) if item.grammar is not None]
        if not entries:
            return None
        from torchloom_models.llm.grammar.mask import GrammarMask  # noqa: PLC0415 - on first use

        rows, states = zip(*entries, strict=True)
        return GrammarMask(rows, states, vocabulary_size=self._vocabulary_size, device=self._device)


def _largest(logits: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Give the largest of each row, and where it is first.

    It is NaN wherever a row holds NaN: no pass of its own is needed to look for it. On a CPU numpy
    looks in a fifth of the time that torch takes.
    """
    if logits.device.type != "cpu":
        best, tokens = logits.max(dim=-1)
        return best, tokens
    values = logits.float().numpy()
    places = values.argmax(axis=-1)
    best_values = np.take_along_axis(values, places[:, None], axis=-1)[:, 0]
    return torch.from_numpy(best_values), torch.from_numpy(places)


def _is_limited(sequence: Sequence) -> bool:
    return sequence.params.top_k > 0 or sequence.params.top_p < 1.0


class _Choice:
    """Rows that are drawn the same way, and their parameters, a column each."""

    def __init__(self, entries: list[tuple[int, Sequence]], device: torch.device | str) -> None:
        self._device = device
        self._sequences = [sequence for _, sequence in entries]
        self.rows = torch.tensor([row for row, _ in entries], device=device)
        self._temperature = self._column([item.params.temperature for item in self._sequences])
        # p ≥ min_p · p_max is the same as a distance in logits: log(0) lets all pass.
        self._distance = -self._column([item.params.min_p for item in self._sequences]).log()

    def _column(self, values: list[float]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.float32, device=self._device)[:, None]

    def _pick(self, scores: torch.Tensor) -> torch.Tensor:
        """Draw a column [rows, 1] from scores [rows, n], by one number of each row's own stream."""
        best = scores.max(dim=-1, keepdim=True).values
        scores = scores.masked_fill(best - scores > self._distance, float("-inf"))
        cumulated = scores.softmax(dim=-1).cumsum(dim=-1, dtype=torch.float64)
        drawn = torch.tensor(
            [[sequence.draw()] for sequence in self._sequences],
            dtype=torch.float64,
            device=self._device,
        )
        # The first place whose sum is above the number: one of probability 0 never is.
        place = torch.searchsorted(cumulated, drawn * cumulated[:, -1:], right=True)
        return place.clamp_(max=scores.shape[-1] - 1)


class _Unlimited(_Choice):
    """Rows that draw from the whole vocabulary."""

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """Give tokens [rows] for logits [rows, vocabulary]."""
        return self._pick(logits / self._temperature)[:, 0]


class _Limited(_Choice):
    """Rows that draw from their likeliest tokens: `top_k`, `top_p`, or both."""

    def __init__(
        self,
        entries: list[tuple[int, Sequence]],
        device: torch.device | str,
        vocabulary_size: int,
    ) -> None:
        super().__init__(entries, device)
        params = [sequence.params for sequence in self._sequences]
        self._vocabulary_size = vocabulary_size
        counts = [[min(item.top_k or vocabulary_size, vocabulary_size)] for item in params]
        self._top_k = torch.tensor(counts, device=device)
        self._top_p = self._column([item.top_p for item in params])
        self._has_open_rows = any(item.top_k == 0 for item in params)
        limits = [item.top_k or _NUM_CANDIDATES for item in params]
        self._num_candidates = min(max(limits), vocabulary_size)

    def draw(self, logits: torch.Tensor) -> torch.Tensor:
        """Give tokens [rows] for logits [rows, vocabulary]."""
        scores = logits / self._temperature
        values, tokens = scores.topk(self._num_candidates, dim=-1)
        total = scores.logsumexp(dim=-1, keepdim=True)
        if self._has_open_rows and self._needs_more(values, total):
            values, tokens = scores.sort(dim=-1, descending=True, stable=True)
        place = self._pick(self._keep(values, total))
        return tokens.gather(1, place)[:, 0]

    def _needs_more(self, values: torch.Tensor, total: torch.Tensor) -> bool:
        """Whether some row without `top_k` reaches its `top_p` only beyond the candidates."""
        mass = (values - total).exp().sum(dim=-1, keepdim=True)
        is_open = self._top_k == self._vocabulary_size
        return bool((is_open & (mass < self._top_p)).any())

    def _keep(self, values: torch.Tensor, total: torch.Tensor) -> torch.Tensor:
        """Put -inf wherever sorted scores [rows, n] fall outside `top_k`, then outside `top_p`."""
        place = torch.arange(values.shape[-1], device=values.device)[None, :]
        is_open = self._top_k == self._vocabulary_size
        values = values.masked_fill(place >= self._top_k, float("-inf"))
        total = torch.where(is_open, total, values.logsumexp(dim=-1, keepdim=True))
        likelihood = (values - total).exp()
        before = likelihood.cumsum(dim=-1) - likelihood
        is_out = (before >= self._top_p) & (place > 0)
        return values.masked_fill(is_out, float("-inf"))
