"""Runner: what the engine asks of whatever runs a model's passes. Knows no model."""

from __future__ import annotations

from collections.abc import Sequence as Group
from typing import Protocol

import torch

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom_models.llm.cache.pool import Move, Pool
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span


class Runner(Protocol):
    """Passes over spans of sequences, on the blocks of one cache."""

    @property
    def num_rows(self) -> int:
        """How many sequences one pass takes."""
        ...

    @property
    def max_length(self) -> int:
        """The longest sequence, prompt and answer together."""
        ...

    @property
    def max_draft(self) -> int:
        """The most guessed tokens of one pass; 0 where it takes none."""
        ...

    @property
    def max_scored(self) -> int:
        """After how many tokens beside the last of each span one pass gives logits, drafts' too."""
        ...

    def make_pool(self, *, is_shared: bool) -> Pool:
        """Say which blocks there are, all of them free; whether sequences may share any.

        What the pool keeps, passes leave as it is.
        """
        ...

    def run(self, spans: Group[Span], running: Group[Sequence]) -> torch.Tensor:
        """Run spans, whose blocks have room; give logits [rows, vocabulary].

        Rows are, span by span, after the last `num_kept` of its tokens, its draft included.
        `running` are all sequences that hold blocks: what they hold stays as it is.
        """
        ...

    def move(self, move: Move) -> None:
        """Copy tokens of a block to another one, as its pool wants it; where it raises, none."""
        ...

    def clear(self, blocks: Group[int]) -> None:
        """Wipe blocks that may hold NaN."""
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
