"""Documents of responses: a response, what is in it, and the events of its stream.

Knows no request.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import msgspec
from msgspec import UNSET, UnsetType

from torchloom_api.openai.citation import TextAnnotation
from torchloom_api.openai.token_logprob import TokenLogprob
from torchloom_api.openai.tool_call import ToolCall
from torchloom_api.openai.usage import Usage


#: What the request holds, as it is told again.
Said = Mapping[str, object]

Status = Literal["in_progress", "completed", "incomplete", "failed"]


class OutputText(msgspec.Struct, frozen=True, kw_only=True):
    """What was written."""

    text: str
    annotations: Sequence[TextAnnotation] = ()
    logprobs: Sequence[TokenLogprob] = ()
    type: Literal["output_text"] = "output_text"


class OutputMessage(msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="message"):
    """What the model said."""

    id: str
    status: Status
    content: Sequence[OutputText]
    role: Literal["assistant"] = "assistant"


class FunctionCall(
    msgspec.Struct, frozen=True, kw_only=True, tag_field="type", tag="function_call"
):
    """A call that the model wrote; `call_id` is what its output is to name."""

    id: str
    status: Status
    call_id: str
    name: str
    arguments: str

    @classmethod
    def of(cls, call: ToolCall, *, item_id: str, status: Status) -> FunctionCall:
        """Write a call in this form."""
        name, arguments = call.function.name, call.function.arguments
        return cls(id=item_id, status=status, call_id=call.id, name=name, arguments=arguments)


OutputItem = OutputMessage | FunctionCall


class InputDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Of the input's tokens, those that did not have to be run again."""

    cached_tokens: int
    cache_write_tokens: int = 0


class OutputDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Of the output's tokens, those of thoughts that are kept apart: none are."""

    reasoning_tokens: int = 0


class ResponseUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens that went in, and that came out."""

    input_tokens: int
    input_tokens_details: InputDetails
    output_tokens: int
    output_tokens_details: OutputDetails
    total_tokens: int

    @classmethod
    def of(cls, usage: Usage) -> ResponseUsage:
        """Write usage in this form."""
        return cls(
            input_tokens=usage.prompt_tokens,
            input_tokens_details=InputDetails(
                cached_tokens=usage.prompt_tokens_details.cached_tokens
            ),
            output_tokens=usage.completion_tokens,
            output_tokens_details=OutputDetails(),
            total_tokens=usage.total_tokens,
        )


class IncompleteDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer was cut short."""

    reason: Literal["max_output_tokens"] = "max_output_tokens"


class ResponseError(msgspec.Struct, frozen=True, kw_only=True):
    """Why an answer that had begun did not come to its end."""

    code: str
    message: str


class TextConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the text is written: `format` as the request has it."""

    format: Mapping[str, object] = msgspec.field(default_factory=lambda: {"type": "text"})


class Response(msgspec.Struct, frozen=True, kw_only=True):
    """An answer, finished or not; null stands where the request said nothing. None is stored."""

    id: str
    created_at: int
    model: str
    status: Status
    output: Sequence[OutputItem] = ()
    usage: ResponseUsage | None = None
    completed_at: int | None = None
    error: ResponseError | None = None
    incomplete_details: IncompleteDetails | None = None
    instructions: str | None = None
    max_output_tokens: int | None = None
    metadata: Mapping[str, str] = {}
    temperature: float | None = None
    top_logprobs: int | None = None
    top_p: float | None = None
    user: str | None = None
    background: Literal[False] = False
    object: Literal["response"] = "response"
    parallel_tool_calls: bool = False
    previous_response_id: None = None
    store: Literal[False] = False
    text: TextConfig = TextConfig()
    tool_choice: str | Said = "none"
    tools: Sequence[Said] = ()
    truncation: Literal["disabled"] = "disabled"


class ResponseEvent(msgspec.Struct, frozen=True, kw_only=True):
    """An event of a stream: `type` says what it is about, and so which fields it has."""

    type: str
    sequence_number: int
    response: Response | UnsetType = UNSET
    output_index: int | UnsetType = UNSET
    item: OutputItem | UnsetType = UNSET
    item_id: str | UnsetType = UNSET
    content_index: int | UnsetType = UNSET
    part: OutputText | UnsetType = UNSET
    delta: str | UnsetType = UNSET
    text: str | UnsetType = UNSET
    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET
    annotation_index: int | UnsetType = UNSET
    annotation: TextAnnotation | UnsetType = UNSET
    logprobs: Sequence[TokenLogprob] | UnsetType = UNSET
