"""Response input: the items of a conversation as messages. Knows no other field of a response."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.message import ContentPart, Messages, to_message
from torchloom_api.openai.request_body import to_struct


class CallItem(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model wrote."""

    call_id: str
    name: str
    arguments: str


class ResultItem(msgspec.Struct, frozen=True, kw_only=True):
    """What came of a call."""

    call_id: str
    output: str | list[ContentPart]


def to_items(values: Sequence[Mapping[str, object]], place: str) -> Messages:
    """Read items as they stand at a place of the body. Raises InvalidRequest, with the place.

    Calls that follow on each other, or on what the model said, are of one message.
    """
    messages: Messages = []
    for index, item in enumerate(values):
        message = _to_message(item, f"{place}[{index}]")
        last = messages[-1] if messages else {}
        calls = message.get("tool_calls")
        if item.get("type") == "function_call" and last.get("role") == "assistant":
            before = last.get("tool_calls")
            known = before if isinstance(before, list) else []
            assert isinstance(calls, list), "a call has been read"
            messages[-1] = {**last, "tool_calls": [*known, *calls]}
        else:
            messages.append(message)
    return messages


def _to_message(item: Mapping[str, object], place: str) -> dict[str, object]:
    kind = item.get("type", "message")
    match kind:
        case "message":
            # Messages of chats have names; items have none, and so theirs is an unknown field.
            known = {**item, "name": None, "tool_calls": None, "tool_call_id": None}
            return to_message(known, place)
        case "function_call":
            call = to_struct(item, CallItem, place)
            function = {"name": call.name, "arguments": call.arguments}
            said = {"id": call.call_id, "type": "function", "function": function}
            return to_message({"role": "assistant", "tool_calls": [said]}, place)
        case "function_call_output":
            result = to_struct(item, ResultItem, place)
            output = msgspec.to_builtins(result.output)
            told = {"role": "tool", "tool_call_id": result.call_id, "content": output}
            return to_message(told, place)
    message = (
        f"{place!r}: items of type {kind!r} are not served by this server: send messages, calls of "
        "functions, and their outputs."
    )
    raise InvalidRequest(message, param=f"{place}.type", code="unsupported_value")
