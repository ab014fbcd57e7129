"""Log probabilities: of the model's raw distribution, for the rows of a batch that ask for them.

Raw is before temperature, penalties, biases and limits, as vLLM has it by default. Knows no text.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows
from typing import Self

import torch

from torchloom_models.llm.logprob.report import LogprobReport
from torchloom_models.llm.sequence import Sequence


class Logprobs:
    """The distributions of some rows, kept from before the sampler may write to the logits."""

    def __init__(self, logits: torch.Tensor, rows: Rows[int], reports: Rows[LogprobReport]) -> None:
        chosen = logits if len(rows) == len(logits) else logits[list(rows)]
        self._table = chosen.float().log_softmax(dim=-1)
        self._rows = rows
        self._reports = reports

    @classmethod
    def of(cls, logits: torch.Tensor, sequences: Rows[Sequence]) -> Self | None:
        """Read logits [rows, vocabulary] of sequences; None, and no work, where nobody asks."""
        asking = [
            (row, report)
            for row, report in enumerate(sequence.report for sequence in sequences)
            if report is not None and report.num_top is not None
        ]
        if not asking:
            return None
        return cls(logits, [row for row, _ in asking], [report for _, report in asking])

    @torch.inference_mode()
    def note(self, tokens: Rows[int | None]) -> None:
        """Report the tokens that were drawn for all rows of the batch; None is no token."""
        drawn = [tokens[row] for row in self._rows]
        counts = [report.num_top or 0 for report in self._reports]
        found = rank(self._table, [token or 0 for token in drawn], max(counts))
        for report, token, count, (logprob, ranking) in zip(
            self._reports, drawn, counts, found, strict=True
        ):
            if token is not None:
                report.note(token, logprob, ranking[:count])


@torch.inference_mode()
def note_prompt(report: LogprobReport, tokens: Rows[int], logits: torch.Tensor) -> None:
    """Report tokens of a prompt by the logits [tokens, vocabulary] before each of them."""
    table = logits.float().log_softmax(dim=-1)
    found = rank(table, tokens, report.num_prompt_top or 0)
    for token, (logprob, ranking) in zip(tokens, found, strict=True):
        report.note_prompt(token, logprob, ranking)


def rank(
    table: torch.Tensor, tokens: Rows[int], count: int
) -> list[tuple[float, list[tuple[int, float]]]]:
    """Give each row's token's value, and its highest values with their tokens."""
    index = torch.tensor(tokens, device=table.device)[:, None]
    chosen: list[float] = table.gather(1, index)[:, 0].tolist()
    if not count:
        return [(value, []) for value in chosen]
    values, places = table.topk(min(count, table.shape[-1]), dim=-1)
    rankings = zip(places.tolist(), values.tolist(), strict=True)
    return [
        (value, list(zip(*ranking, strict=True)))
        for value, ranking in zip(chosen, rankings, strict=True)
    ]
