"""ChatForm: chat completions, and their chunks, as documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from torchloom_api.media import to_json
from torchloom_api.openai.answer_form import DONE, AnswerHead, to_event
from torchloom_api.openai.citation import ChatAnnotation
from torchloom_api.openai.error import ErrorDocument
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.token_logprob import ChatLogprobs, ToldToken, to_token_logprobs
from torchloom_api.openai.tool_call import CallDelta, ToolCall
from torchloom_api.openai.usage import Usage


class ChatAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """What the model said."""

    content: str | None
    role: Literal["assistant"] = "assistant"
    refusal: None = None
    annotations: Sequence[ChatAnnotation] | UnsetType = UNSET
    tool_calls: Sequence[ToolCall] | UnsetType = UNSET


class ChatChoice(msgspec.Struct, frozen=True, kw_only=True):
    """One answer."""

    index: int
    message: ChatAnswer
    finish_reason: str
    logprobs: ChatLogprobs | None = None


class ChatCompletion(msgspec.Struct, frozen=True, kw_only=True):
    """All answers."""

    id: str
    created: int
    model: str
    choices: Sequence[ChatChoice]
    usage: Usage
    object: Literal["chat.completion"] = "chat.completion"


class Delta(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is new."""

    role: str | None = None
    content: str | None = None
    annotations: Sequence[ChatAnnotation] | UnsetType = UNSET
    tool_calls: Sequence[CallDelta] | UnsetType = UNSET


class ChatChunkChoice(msgspec.Struct, frozen=True, kw_only=True):
    """What is new in one answer."""

    index: int
    delta: Delta
    logprobs: ChatLogprobs | None = None
    finish_reason: str | None = None


class ChatChunk(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a stream."""

    id: str
    created: int
    model: str
    choices: Sequence[ChatChunkChoice]
    object: Literal["chat.completion.chunk"] = "chat.completion.chunk"
    usage: Usage | UnsetType | None = UNSET


@dataclass(frozen=True, slots=True, kw_only=True)
class ChatForm:
    """The AnswerForm of chat completions.

    `has_usage`: each chunk has the key `usage`, null but in the last. `has_logprobs`: the tokens of
    answers are told.
    """

    head: AnswerHead
    has_usage: bool
    has_logprobs: bool = False

    def whole(self, answers: Sequence[Answer], usage: Usage) -> bytes:
        """Write all answers in one document."""
        choices = [
            ChatChoice(
                index=index,
                message=_to_message(answer),
                finish_reason=answer.finish_reason,
                logprobs=self._to_logprobs(answer.logprobs),
            )
            for index, answer in enumerate(answers)
        ]
        head = self.head
        return to_json(
            ChatCompletion(
                id=head.id, created=head.created, model=head.model, choices=choices, usage=usage
            )
        )

    def opening(self, index: int) -> bytes:
        """Write who speaks."""
        return self._chunk(ChatChunkChoice(index=index, delta=Delta(role="assistant", content="")))

    def piece(self, index: int, text: str, logprobs: Sequence[ToldToken] = ()) -> bytes:
        """Write a chunk with more text."""
        return self._chunk_of(index, Delta(content=text), logprobs)

    def call(
        self, index: int, deltas: Sequence[CallDelta], logprobs: Sequence[ToldToken] = ()
    ) -> bytes:
        """Write a chunk with more of calls."""
        return self._chunk_of(index, Delta(tool_calls=deltas), logprobs)

    def finish(self, index: int, answer: Answer) -> bytes:
        """Write the chunk that ends an answer, with what it cites."""
        delta = Delta(annotations=_to_annotations(answer))
        reason = answer.finish_reason
        return self._chunk(ChatChunkChoice(index=index, delta=delta, finish_reason=reason))

    def end(self, usage: Usage) -> bytes:
        """Write the usage, where it is asked for, and the end."""
        return (self._write([], usage) if self.has_usage else b"") + DONE

    def failure(self, error: ErrorDocument) -> bytes:
        """Write the error; no end follows."""
        return to_event(to_json(error))

    def _to_logprobs(self, told: Sequence[ToldToken]) -> ChatLogprobs | None:
        return ChatLogprobs(content=to_token_logprobs(told)) if self.has_logprobs else None

    def _chunk_of(self, index: int, delta: Delta, logprobs: Sequence[ToldToken]) -> bytes:
        told = self._to_logprobs(logprobs) if logprobs else None
        return self._chunk(ChatChunkChoice(index=index, delta=delta, logprobs=told))

    def _chunk(self, choice: ChatChunkChoice) -> bytes:
        return self._write([choice], None if self.has_usage else UNSET)

    def _write(self, choices: Sequence[ChatChunkChoice], usage: Usage | UnsetType | None) -> bytes:
        head = self.head
        chunk = ChatChunk(
            id=head.id, created=head.created, model=head.model, choices=choices, usage=usage
        )
        return to_event(to_json(chunk))


def _to_message(answer: Answer) -> ChatAnswer:
    return ChatAnswer(
        content=None if answer.calls and not answer.text else answer.text,
        annotations=_to_annotations(answer),
        tool_calls=answer.calls or UNSET,
    )


def _to_annotations(answer: Answer) -> Sequence[ChatAnnotation] | UnsetType:
    """Give the annotations, or nothing where the answer cites nothing."""
    return [ChatAnnotation(url_citation=each) for each in answer.citations] or UNSET
