"""ChatRequest: the body of a chat completion, and its messages as models take them."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct
from torchloom_api.openai.text_request import Positive, TextRequest
from torchloom_api.openai.unserved_field import MESSAGE, refuse_unserved


#: Kinds of content that models with eyes and ears take.
_NO_TEXT: Final = ("image_url", "input_audio", "file")


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said. A list of texts is one text."""

    role: Literal["system", "developer", "user", "assistant", "tool"]
    content: str | list[ContentPart]


class ChatRequest(TextRequest, frozen=True, kw_only=True):
    """A conversation that the model is to go on with."""

    messages: list[dict[str, object]]
    max_completion_tokens: Positive | None = None

    @property
    def token_limit(self) -> int | None:
        """The most tokens of each answer; `max_tokens` is the older name. Raises InvalidRequest."""
        if self.max_tokens is not None and self.max_completion_tokens is not None:
            message = "Give either 'max_completion_tokens' or 'max_tokens', not both."
            raise InvalidRequest(message, param="max_tokens", code="invalid_value")
        return self.max_completion_tokens or self.max_tokens

    def to_messages(self) -> list[dict[str, str]]:
        """Give the messages as models take them. Raises InvalidRequest, with the place."""
        if not self.messages:
            message = "'messages' must hold at least one message."
            raise InvalidRequest(message, param="messages", code="invalid_value")
        return [_to_message(f"messages[{i}]", each) for i, each in enumerate(self.messages)]


def _to_message(place: str, values: dict[str, object]) -> dict[str, str]:
    refuse_unserved(values, MESSAGE, f"{place}.")
    message = to_struct(values, Message, place)
    return {"role": message.role, "content": _to_text(f"{place}.content", message.content)}


def _to_text(place: str, content: str | list[ContentPart]) -> str:
    if isinstance(content, str):
        return content
    if not content:
        message = f"{place!r} must hold at least one part."
        raise InvalidRequest(message, param=place, code="invalid_value")
    return "".join(_to_part(f"{place}[{i}]", part) for i, part in enumerate(content))


def _to_part(place: str, part: ContentPart) -> str:
    if part.type == "text" and part.text is not None:
        return part.text
    if part.type == "text":
        name = f"{place}.text"
        message = f"The field {name!r} is missing."
        raise InvalidRequest(message, param=name, code="missing_required_parameter")
    what = "is not read by a model of text" if part.type in _NO_TEXT else "is unknown"
    message = f"{place!r}: content of type {part.type!r} {what}. Send content of type 'text'."
    raise InvalidRequest(message, param=f"{place}.type", code="invalid_value")
