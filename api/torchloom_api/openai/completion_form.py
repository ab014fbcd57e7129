"""CompletionForm: completions, and their chunks, as documents. Both have the same form."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from torchloom_api.media import to_json
from torchloom_api.openai.answer_form import DONE, AnswerHead, to_event
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.token_logprob import CompletionLogprobs, ToldToken
from torchloom_api.openai.tool_call import CallDelta
from torchloom_api.openai.usage import Usage


class CompletionChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer, or what is new in it."""

    index: int
    text: str
    logprobs: CompletionLogprobs | None = None
    finish_reason: str | None = None


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """All answers, or a piece of a stream."""

    id: str
    created: int
    model: str
    choices: Sequence[CompletionChoice]
    object: Literal["text_completion"] = "text_completion"
    usage: Usage | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class CompletionForm:
    """The AnswerForm of completions.

    `has_usage`: each chunk has the key `usage`, null but in the last. `has_logprobs`: the tokens of
    answers are told.
    """

    head: AnswerHead
    has_usage: bool
    has_logprobs: bool = False

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write all answers in one document."""
        choices = [
            CompletionChoice(
                index=index,
                text=answer.text,
                finish_reason=answer.finish_reason,
                logprobs=self._to_logprobs(answer.logprobs),
            )
            for index, answer in enumerate(answers)
        ]
        return self._write(choices, usage)

    def opening(self, index: int) -> bytes:  # noqa: ARG002 - the protocol's face
        """Write nothing: a completion begins with its text."""
        return b""

    def piece(self, index: int, text: str, logprobs: Sequence[ToldToken] = ()) -> bytes:
        """Write a chunk with more text."""
        told = self._to_logprobs(logprobs) if logprobs else None
        return self._chunk(CompletionChoice(index=index, text=text, logprobs=told))

    def call(
        self,
        index: int,  # noqa: ARG002 - the protocol's face
        deltas: Sequence[CallDelta],  # noqa: ARG002 - as above
        logprobs: Sequence[ToldToken] = (),  # noqa: ARG002 - as above
    ) -> bytes:
        """Write nothing: raw text calls no tools."""
        return b""

    def finish(self, index: int, answer: Answer) -> bytes:
        """Write the chunk that ends an answer."""
        reason = answer.finish_reason
        return self._chunk(CompletionChoice(index=index, text="", finish_reason=reason))

    def end(self, usage: Usage) -> bytes:
        """Write the usage, where it is asked for, and the end."""
        return (to_event(self._write([], usage)) if self.has_usage else b"") + DONE

    def failure(self, error: ErrorDocument) -> bytes:
        """Write the error; no end follows."""
        return to_event(to_json(error))

    def _to_logprobs(self, told: Sequence[ToldToken]) -> CompletionLogprobs | None:
        return CompletionLogprobs.of(told) if self.has_logprobs else None

    def _chunk(self, choice: CompletionChoice) -> bytes:
        return to_event(self._write([choice], None if self.has_usage else UNSET))

    def _write(self, choices: Sequence[CompletionChoice], usage: Usage | UnsetType | None) -> bytes:
        head = self.head
        return to_json(
            Completion(
                id=head.id, created=head.created, model=head.model, choices=choices, usage=usage
            )
        )
