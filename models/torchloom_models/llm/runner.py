"""Runner: what the engine asks of whatever runs a model's passes. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence as Group
from typing import Protocol

import torch

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.llm.sequence import Sequence


class Runner(Protocol):
    """Passes over whole prompts and over single tokens, on slots of one cache."""

    @property
    def num_slots(self) -> int:
        """How many sequences there is room for."""
        ...

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        ...

    def padded_rows(self, num_rows: int) -> int:
        """Give the number of rows that a decode pass over so many is run with."""
        ...

    def decode(self, sequences: Group[Sequence], num_rows: int) -> torch.Tensor:
        """Run the newest token of each sequence; give logits [sequences, vocabulary]."""
        ...

    def prefill(self, sequences: Group[Sequence]) -> torch.Tensor:
        """Run whole prompts together; give logits [sequences, vocabulary] after the last tokens."""
        ...

    def move(self, source: int, target: int, length: int) -> None:
        """Copy the first `length` tokens of a slot to another one."""
        ...

    def clear(self, slot: int) -> None:
        """Wipe a slot that may hold NaN."""
        ...

    def warm_up(self, report: Report) -> None:
        """Compile before the first request. Raises ModelLoadError."""
        ...

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        ...

    def close(self) -> None:
        """End what still compiles."""
        ...


def newest_tokens(
    sequences: Group[Sequence], num_rows: int
) -> tuple[list[int], list[int], list[int]]:
    """Give the token and the position of each row, zeros in free ones, and each sequence's row."""
    tokens, positions, slots = [0] * num_rows, [0] * num_rows, []
    for sequence in sequences:
        slot = sequence.slot
        assert slot is not None, repr(sequence)
        slots.append(slot)
        tokens[slot] = sequence.tokens[-1]
        positions[slot] = sequence.position
    return tokens, positions, slots
