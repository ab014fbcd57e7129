"""Messages: what was said in a conversation, as models and workflows take it. Knows no route."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final, Literal, get_args

import msgspec

from torchloom.errors import nearest
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct
from torchloom_api.openai.tool_call import ToolCall
from torchloom_api.openai.unserved_field import MESSAGE, refuse_unserved


Role = Literal["system", "developer", "user", "assistant", "tool"]

#: Each with `role` and `content`, and `name`, `tool_calls` and `tool_call_id` where one was given.
Messages = list[dict[str, object]]

#: Types of content that are text: in chats, and in responses what goes in and what came out.
_TEXT: Final = ("text", "input_text", "output_text")

#: Those that models with eyes and ears take.
_NO_TEXT: Final = ("image_url", "input_audio", "file", "input_image", "input_file")


class ContentPart(msgspec.Struct, frozen=True, kw_only=True):
    """A piece of a message."""

    type: str
    text: str | None = None


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """What somebody said. A list of texts is one text."""

    role: str
    content: str | list[ContentPart] | None = None
    name: str | None = None
    tool_calls: list[ToolCall] | None = None
    tool_call_id: str | None = None


def to_messages(values: Sequence[Mapping[str, object]], place: str) -> Messages:
    """Read messages as they stand at a place of the body. Raises InvalidRequest, with the place."""
    return [to_message(each, f"{place}[{index}]") for index, each in enumerate(values)]


def to_message(values: Mapping[str, object], place: str) -> dict[str, object]:
    """Read one message. Raises InvalidRequest, with the place."""
    refuse_unserved(values, MESSAGE, f"{place}.")
    message = to_struct(values, Message, place)
    if message.role not in get_args(Role):
        hint = nearest(message.role, get_args(Role))
        text = f"'{place}.role': there is no role {message.role!r}.{hint}"
        raise InvalidRequest(text, param=f"{place}.role", code="invalid_value")
    said: dict[str, object] = {"role": message.role, "content": _to_content(message, place)}
    if message.tool_calls:
        said["tool_calls"] = [msgspec.to_builtins(call) for call in message.tool_calls]
    given = {"name": message.name, "tool_call_id": message.tool_call_id}
    return {**said, **{key: value for key, value in given.items() if value is not None}}


def refuse_names(messages: Messages, place: str) -> None:
    """Raise InvalidRequest for a `name`: workflows read it, models of text do not."""
    for index, message in enumerate(messages):
        if "name" in message:
            param = f"{place}[{index}].name"
            text = f"{param!r} is read by workflows, and by no model: write it into the content."
            raise InvalidRequest(text, param=param, code="unsupported_parameter")


def _to_content(message: Message, place: str) -> str:
    if message.content is not None:
        return _to_text(f"{place}.content", message.content)
    if message.tool_calls:
        return ""
    text = f"The field '{place}.content' is missing."
    raise InvalidRequest(text, param=f"{place}.content", code="missing_required_parameter")


def _to_text(place: str, content: str | list[ContentPart]) -> str:
    if isinstance(content, str):
        return content
    if not content:
        message = f"{place!r} must hold at least one part."
        raise InvalidRequest(message, param=place, code="invalid_value")
    return "".join(_to_part(f"{place}[{i}]", part) for i, part in enumerate(content))


def _to_part(place: str, part: ContentPart) -> str:
    if part.type in _TEXT and part.text is not None:
        return part.text
    if part.type in _TEXT:
        name = f"{place}.text"
        message = f"The field {name!r} is missing."
        raise InvalidRequest(message, param=name, code="missing_required_parameter")
    what = "is not read by a model of text" if part.type in _NO_TEXT else "is unknown"
    message = f"{place!r}: content of type {part.type!r} {what}. Send text."
    raise InvalidRequest(message, param=f"{place}.type", code="invalid_value")
