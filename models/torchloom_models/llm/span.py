"""Span: tokens of one sequence that go through one pass. Knows no batch and no tensors."""

from __future__ import annotations

from collections.abc import Sequence as Tokens
from typing import NamedTuple, Protocol

from torchloom_models.llm.sequence import Sequence


class Guesser(Protocol):
    """Whoever has guessed the draft of a span."""

    def learn(self, num_right: int) -> None:
        """Note how many tokens of the last guess were right."""
        ...


class Span(NamedTuple):
    """The tokens from `start` up to `end`; the sequence's blocks hold all before, and have room."""

    sequence: Sequence
    start: int
    end: int
    #: Tokens that are guessed to follow: they are run as well, and there are logits after each.
    draft: Tokens[int] = ()
    #: Whether there are logits after each of its tokens, and not only after the last.
    is_scored: bool = False
    #: How many tokens a draft model may guess for it, which has no draft yet.
    room: int = 0
    guesser: Guesser | None = None

    @property
    def num_tokens(self) -> int:
        """How many tokens, guessed ones included."""
        return self.end - self.start + len(self.draft)

    @property
    def tokens(self) -> Tokens[int]:
        """The tokens themselves."""
        return [*self.sequence.ids[self.start : self.end], *self.draft]

    @property
    def num_kept(self) -> int:
        """After how many tokens, those at its end, there are logits."""
        return self.num_tokens if self.is_scored else 1 + len(self.draft)

    @property
    def is_last(self) -> bool:
        """Whether the next token can be drawn after it."""
        return self.end == self.sequence.length
