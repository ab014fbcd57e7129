"""Allowed tools: a `tool_choice` that lets some of a request's tools be called. Calls nothing.

What is not allowed is not offered to the model at all.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, TypeAlias

import msgspec

from torchloom.errors import nearest
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct


Documents: TypeAlias = Sequence[Mapping[str, object]]


class AllowedTools(msgspec.Struct, frozen=True, kw_only=True):
    """Which may be called, by their documents; `required`: one of them must be."""

    mode: Literal["auto", "required"]
    tools: list[dict[str, object]] = msgspec.field(default_factory=list)


def is_allowance(choice: object) -> bool:
    """Say whether a `tool_choice` allows some tools."""
    return isinstance(choice, Mapping) and choice.get("type") == "allowed_tools"


def narrow(tools: Documents | None, choice: object) -> tuple[Documents | None, object]:
    """Give the tools that a `tool_choice` allows, and a choice among those. Raises InvalidRequest.

    Chats have the allowance in a field of its own, responses in the choice itself.
    """
    if not isinstance(choice, Mapping) or not is_allowance(choice):
        return tools, choice
    place = "tool_choice.allowed_tools" if "allowed_tools" in choice else "tool_choice"
    allowed = to_struct(choice.get("allowed_tools", choice), AllowedTools, place)
    if not allowed.tools:
        message = f"'{place}.tools' must name one tool at least."
        raise InvalidRequest(message, param=f"{place}.tools", code="invalid_value")
    known = {name: tool for tool in tools or () if isinstance(name := _name(tool), str)}
    return [
        _find(known, _name(tool), f"{place}.tools[{index}]")
        for index, tool in enumerate(allowed.tools)
    ], allowed.mode


def _find(
    known: Mapping[str, Mapping[str, object]], name: object, place: str
) -> Mapping[str, object]:
    if isinstance(name, str) and name in known:
        return known[name]
    message = f"'{place}' names none of the 'tools': {name!r}.{nearest(str(name), known)}"
    raise InvalidRequest(message, param=place, code="invalid_value")


def _name(tool: Mapping[str, object]) -> object:
    function = tool.get("function", tool)
    return function.get("name") if isinstance(function, Mapping) else None
