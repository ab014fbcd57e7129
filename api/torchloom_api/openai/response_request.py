"""ResponseRequest: the body of a response, and its input as messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.message import Messages
from torchloom_api.openai.response_format import EXTRA_FIELD, Form, choose_form
from torchloom_api.openai.response_input import to_items
from torchloom_api.openai.response_tool import to_choice, to_tools
from torchloom_api.openai.text_request import NumTop, Positive, WritingRequest
from torchloom_api.openai.tool_call import to_tool_inputs
from torchloom_api.openai.unserved_field import TEXT, refuse_unserved


#: What a client wants to find again in the answer, within OpenAI's bounds.
Metadata = Annotated[
    Mapping[Annotated[str, Meta(max_length=64)], Annotated[str, Meta(max_length=512)]],
    Meta(max_length=16),
]


#: What an answer may include beside what it holds anyway.
_LOGPROBS: Final = "message.output_text.logprobs"


class TextOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How the text is to be written."""

    format: dict[str, object] | None = None
    verbosity: str | None = None


class ResponseRequest(WritingRequest, frozen=True, kw_only=True):
    """Text, or a conversation as items, that the model is to go on with."""

    input: str | list[dict[str, object]]
    instructions: str | None = None
    max_output_tokens: Positive | None = None
    metadata: Metadata | None = None
    text: TextOptions | None = None
    include: list[str] | None = None
    top_logprobs: NumTop | None = None
    tools: list[dict[str, object]] | None = None
    tool_choice: str | dict[str, object] | None = None
    parallel_tool_calls: bool | None = None

    @property
    def form(self) -> Form | None:
        """The form that the text is to have. Raises InvalidRequest."""
        options = self.text or TextOptions()
        refuse_unserved({"verbosity": options.verbosity}, TEXT, "text.")
        return choose_form(
            self.structured_outputs, options.format, place="text.format", is_flat=True
        )

    @property
    def form_field(self) -> str:
        """The field that the form was given in."""
        return EXTRA_FIELD if self.structured_outputs is not None else "text"

    def to_logprobs(self) -> dict[str, object]:
        """Give what a model is asked of its tokens. Raises InvalidRequest."""
        beyond = [each for each in self.include or () if each != _LOGPROBS]
        if beyond:
            message = f"'include' of {beyond[0]!r} is not served by this server: leave it out."
            raise InvalidRequest(message, param="include", code="unsupported_parameter")
        if self.top_logprobs and not self.include:
            message = f"'top_logprobs' needs 'include': ['{_LOGPROBS}']."
            raise InvalidRequest(message, param="top_logprobs", code="invalid_value")
        if self.include and self.may_call:
            message = (
                "'include' of log probabilities is of text alone, and goes with no 'tools' here: "
                "chat completions tell those of calls."
            )
            raise InvalidRequest(message, param="include", code="unsupported_parameter")
        return {"logprobs": self.top_logprobs or 0} if self.include else {}

    @property
    def may_call(self) -> bool:
        """Whether the answer may hold calls."""
        return bool(self.tools) and self.tool_choice != "none"

    def to_tools(self) -> dict[str, object]:
        """Give what is said of tools, as a model's inputs. Raises InvalidRequest."""
        tools = None if self.tools is None else to_tools(self.tools, "tools")
        choice = to_choice(self.tool_choice, "tool_choice")
        return to_tool_inputs(tools, choice, is_parallel=self.parallel_tool_calls)

    def to_messages(self) -> Messages:
        """Give instructions and input as messages. Raises InvalidRequest, with the place."""
        said: Messages = []
        if self.instructions:
            said.append({"role": "system", "content": self.instructions})
        return said + self._to_messages()

    def _to_messages(self) -> Messages:
        if not self.input:
            message = "'input' must hold text, or at least one item."
            raise InvalidRequest(message, param="input", code="invalid_value")
        if isinstance(self.input, str):
            return [{"role": "user", "content": self.input}]
        return to_items(self.input, "input")


def format_of(request: ResponseRequest) -> Mapping[str, object]:
    """Give the form that was asked for, as the answer repeats it."""
    asked = request.text.format if request.text is not None else None
    return asked or {"type": "text"}
