"""Response tools: functions as responses have them, as a model's inputs. Knows no answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from torchloom_api.openai.allowed_tools import is_allowance
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct
from torchloom_api.openai.tool_call import FunctionTool


def to_tools(values: Sequence[Mapping[str, object]], place: str) -> list[dict[str, object]]:
    """Read tools, in the form that chats have them. Raises InvalidRequest, with the place."""
    return [_to_tool(value, f"{place}[{index}]") for index, value in enumerate(values)]


def to_choice(value: str | Mapping[str, object] | None, place: str) -> object:
    """Read which is to be called, in the form that chats have it. Raises InvalidRequest."""
    if not isinstance(value, Mapping) or is_allowance(value):
        return value
    _check_kind(value, place)
    return {"type": "function", "function": {"name": value.get("name")}}


def _to_tool(value: Mapping[str, object], place: str) -> dict[str, object]:
    _check_kind(value, place)
    to_struct(value, FunctionTool, place)
    names = FunctionTool.__struct_fields__
    function = {name: value[name] for name in names if value.get(name) is not None}
    return {"type": "function", "function": function}


def _check_kind(value: Mapping[str, object], place: str) -> None:
    kind = value.get("type")
    if kind != "function":
        message = f"'{place}.type': {kind!r} is not served by this server: functions alone are."
        raise InvalidRequest(message, param=f"{place}.type", code="unsupported_value")
