"""Tool calls, as they stand in messages, in answers and in pieces of answers. Knows no model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, cast

import msgspec
from msgspec import UNSET, UnsetType

from torchloom_api.openai.allowed_tools import narrow


class CalledFunction(msgspec.Struct, frozen=True, kw_only=True):
    """What is called; `arguments` is JSON, as the model wrote it."""

    name: str
    arguments: str


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call."""

    id: str
    function: CalledFunction
    type: Literal["function"] = "function"


class FunctionTool(msgspec.Struct, frozen=True, kw_only=True):
    """A function that may be called.

    `parameters` is a JSON Schema, kept to where `strict` says so and where a call is asked for.
    """

    name: str
    description: str | None = None
    parameters: dict[str, object] | None = None
    strict: bool | None = None


class FunctionDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What is new of a function that is called: its name, then pieces of the arguments."""

    name: str | UnsetType = UNSET
    arguments: str | UnsetType = UNSET


class CallDelta(msgspec.Struct, frozen=True, kw_only=True):
    """What is new of the call of this number in its answer."""

    index: int
    id: str | UnsetType = UNSET
    type: Literal["function"] | UnsetType = UNSET
    function: FunctionDelta


def to_tool_inputs(
    tools: Sequence[Mapping[str, object]] | None, choice: object, *, is_parallel: bool | None
) -> dict[str, object]:
    """Give what a request says of tools, as a model's inputs; nothing where it asks for nothing.

    Raises InvalidRequest.
    """
    tools, choice = narrow(tools, choice)
    if not tools and choice in (None, "none", "auto"):
        return {}
    given = {"tools": tools, "tool_choice": choice, "parallel_tool_calls": is_parallel}
    return {name: value for name, value in given.items() if value is not None}


def to_calls(outputs: Mapping[str, object]) -> tuple[ToolCall, ...]:
    """Read the calls among the outputs of a model."""
    calls = cast("Sequence[object]", outputs.get("tool_calls") or ())
    return tuple(msgspec.convert(call, ToolCall) for call in calls)


def to_deltas(chunk: Mapping[str, object]) -> tuple[CallDelta, ...]:
    """Read what a chunk of a model tells of calls."""
    deltas = cast("Sequence[object]", chunk.get("tool_calls") or ())
    return tuple(msgspec.convert(delta, CallDelta) for delta in deltas)
