"""AnswerForm: how answers and chunks of one route are written. Knows no socket and no task."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol, Self

from torchloom_api.openai.generation import Answer
from torchloom_api.openai.usage import Usage


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """What the answer and each chunk of it begin with. `model` is as the client named it."""

    id: str
    created: int
    model: str

    @classmethod
    def make(cls, prefix: str, model: str) -> Self:
        """Make a fresh id."""
        return cls(id=f"{prefix}-{os.urandom(12).hex()}", created=int(time.time()), model=model)


class AnswerForm(Protocol):
    """Writes JSON documents. `has_usage`: each chunk has the key `usage`, null but in the last."""

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write all answers in one document."""
        ...

    def opening(self, index: int) -> bytes | None:
        """Write the chunk that an answer begins with, where there is one."""
        ...

    def piece(self, index: int, text: str) -> bytes:
        """Write a chunk with more text."""
        ...

    def finish(self, index: int, answer: Answer) -> bytes:
        """Write the chunk that ends an answer."""
        ...

    def usage(self, usage: Usage) -> bytes:
        """Write the chunk that follows the last answer."""
        ...
