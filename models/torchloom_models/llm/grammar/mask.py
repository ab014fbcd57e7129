"""GrammarMask: which tokens may be drawn in the rows of one batch that have a grammar, all at once.

Made anew when the batch changes hands. Knows no drawing.
"""

from __future__ import annotations

from collections.abc import Sequence as Rows

import torch

from torchloom_models.llm.grammar.state import GrammarState, fill


_WORD = 32


class GrammarMask:
    """The bits of rows `rows` of a batch, whose states are `states`."""

    def __init__(
        self,
        rows: Rows[int],
        states: Rows[GrammarState],
        *,
        vocabulary_size: int,
        device: torch.device | str,
    ) -> None:
        self._states = states
        self._rows = torch.tensor(rows, device=device)
        self._device = torch.device(device)
        self._packed = torch.zeros(
            (len(rows), -(-vocabulary_size // _WORD)),
            dtype=torch.int32,
            pin_memory=self._device.type == "cuda",
        )
        self._bits = torch.arange(_WORD, dtype=torch.int32, device=device)

    def apply(self, logits: torch.Tensor) -> None:
        """Put -inf wherever a grammar does not go on, in logits [all rows, vocabulary].

        A row that nothing may follow on is -inf from end to end.
        """
        fill(self._states, self._packed)
        packed = self._packed.to(self._device, non_blocking=True)
        bits = (packed[:, :, None] >> self._bits) & 1
        is_out = bits.flatten(1)[:, : logits.shape[1]] == 0
        logits[self._rows] = logits[self._rows].masked_fill(is_out, float("-inf"))
