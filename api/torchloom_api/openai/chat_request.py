"""ChatRequest: the body of a chat completion."""

from __future__ import annotations

from typing import Literal

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.message import Messages, to_messages
from torchloom_api.openai.text_request import NumTop, Positive, TextRequest
from torchloom_api.openai.tool_call import to_tool_inputs


class ChatRequest(TextRequest, frozen=True, kw_only=True):
    """A conversation that the model is to go on with."""

    messages: list[dict[str, object]]
    max_completion_tokens: Positive | None = None
    tools: list[dict[str, object]] | None = None
    tool_choice: str | dict[str, object] | None = None
    parallel_tool_calls: bool | None = None
    logprobs: bool | None = None
    top_logprobs: NumTop | None = None
    # Both are without effect: the one is of what is stored, the other saves time.
    metadata: dict[str, object] | None = None
    prediction: dict[str, object] | None = None

    @property
    def token_limit(self) -> int | None:
        """The most tokens of each answer; `max_tokens` is the older name. Raises InvalidRequest."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            message = "Give either 'max_completion_tokens' or 'max_tokens', not both."
            raise InvalidRequest(message, param="max_tokens", code="invalid_value")
        return self.max_completion_tokens or self.max_tokens

    @property
    def token_limit_field(self) -> Literal["max_completion_tokens", "max_tokens"]:
        """The field that the limit was given in."""
        return "max_completion_tokens" if self.max_tokens is None else "max_tokens"

    def to_tools(self) -> dict[str, object]:
        """Give what is said of tools, as a model's inputs. Raises InvalidRequest."""
        return to_tool_inputs(self.tools, self.tool_choice, is_parallel=self.parallel_tool_calls)

    def to_logprobs(self) -> dict[str, object]:
        """Give what a model is asked of its tokens. Raises InvalidRequest."""
        if self.top_logprobs and not self.logprobs:
            message = "'top_logprobs' may be given only where 'logprobs' is true."
            raise InvalidRequest(message, param="top_logprobs", code="invalid_value")
        return {"logprobs": self.top_logprobs or 0} if self.logprobs else {}

    def to_messages(self) -> Messages:
        """Give the messages. Raises InvalidRequest, with the place."""
        if not self.messages:
            message = "'messages' must hold at least one message."
            raise InvalidRequest(message, param="messages", code="invalid_value")
        return to_messages(self.messages, "messages")
