"""AnswerForm: how answers of one route are written, whole and in a stream. Knows no socket."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from torchloom.random_id import new_id
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.token_logprob import ToldToken
from torchloom_api.openai.tool_call import CallDelta
from torchloom_api.openai.usage import Usage


#: What ends a stream of chunks.
DONE: Final = b"data: [DONE]\n\n"


@dataclass(frozen=True, slots=True, kw_only=True)
class AnswerHead:
    """What the answer and each chunk of it begin with. `model` is as the client named it."""

    id: str
    created: int
    model: str

    @classmethod
    def make(cls, prefix: str, model: str) -> Self:
        """Make a fresh id."""
        return cls(id=f"{prefix}{new_id()}", created=int(time.time()), model=model)


class AnswerForm(Protocol):
    """Writes a JSON document, or the events (each ends in a blank line) of a stream."""

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write all answers in one document."""
        ...

    def opening(self, index: int) -> bytes:
        """Write what an answer begins with."""
        ...

    def piece(self, index: int, text: str, logprobs: Sequence[ToldToken] = ()) -> bytes:
        """Write more text, and the tokens that end in it."""
        ...

    def call(
        self, index: int, deltas: Sequence[CallDelta], logprobs: Sequence[ToldToken] = ()
    ) -> bytes:
        """Write more of calls, and the tokens that end in them."""
        ...

    def finish(self, index: int, answer: Answer) -> bytes:
        """Write what ends an answer."""
        ...

    def end(self, usage: Usage) -> bytes:
        """Write what ends the stream, after the last answer."""
        ...

    def failure(self, error: ErrorDocument) -> bytes:
        """Write what ends the stream when the rest has failed."""
        ...


def to_event(document: bytes) -> bytes:
    """Write an event without a name; JSON holds no line break."""
    return b"data: %s\n\n" % document
