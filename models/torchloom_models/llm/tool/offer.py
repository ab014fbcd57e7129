"""Offer: the tools that a request lets the model call, and which it must. Reads no text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Self

from torchloom.errors import InvalidInput, nearest
from torchloom.signature import Schema
from torchloom_models.schema import BOOLEAN, OBJECT, STRING


_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")

_WORDS: Final = ("none", "auto", "required")

_MAX_TOOLS: Final = 128

#: The inputs that make an offer, for the kind's published table.
TOOL_INPUTS: Final[Mapping[str, Schema]] = {
    "tools": {
        "type": "array",
        "items": {
            "type": "object",
            "properties": {"type": {"const": "function"}, "function": OBJECT},
            "required": ["type", "function"],
        },
        "maxItems": _MAX_TOOLS,
        "description": "Functions that the model may call, in OpenAI's form.",
    },
    "tool_choice": {
        "oneOf": [{"type": "string", "enum": list(_WORDS)}, OBJECT],
        "description": "none, auto, required, or a function that is to be called.",
    },
    "parallel_tool_calls": {**BOOLEAN, "description": "Whether one answer may hold several calls."},
}

#: A call as it comes out, and goes back in as a part of a message.
CALLS: Final[Schema] = {
    "type": "array",
    "items": {
        "type": "object",
        "properties": {
            "id": STRING,
            "type": {"const": "function"},
            "function": {
                "type": "object",
                "properties": {"name": STRING, "arguments": STRING},
                "required": ["name", "arguments"],
            },
        },
        "required": ["id", "type", "function"],
    },
}


@dataclass(frozen=True, slots=True)
class Tool:
    """A function: its name, the JSON Schema of its arguments, and all that is said of it.

    `is_strict`: its arguments fit the schema whenever it is called.
    """

    name: str
    parameters: Mapping[str, object]
    document: Mapping[str, object]
    is_strict: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Offer:
    """The tools of a request. `must_call`: the answer is calls; of `tools`, where `is_parallel`."""

    tools: tuple[Tool, ...]
    must_call: bool = False
    is_parallel: bool = True
    #: Those that are to be called: all, unless the request names one.
    chosen: tuple[Tool, ...] = ()

    @classmethod
    def from_inputs(cls, inputs: Mapping[str, object]) -> Self | None:
        """Read what a task says of tools; None where it may call none. Raises InvalidInput."""
        values = inputs.get("tools")
        choice = inputs.get("tool_choice")
        if not values:
            if choice not in (None, "none", "auto"):
                raise InvalidInput("'tool_choice' asks for a call, but there are no 'tools'.")
            return None
        if not isinstance(values, list | tuple):
            raise InvalidInput("'tools' must be a list of functions.")
        if len(values) > _MAX_TOOLS:
            raise InvalidInput(f"'tools' holds {len(values)}: {_MAX_TOOLS} are the most.")
        tools = tuple(_read_tool(f"tools[{n}]", value) for n, value in enumerate(values))
        _refuse_twins(tools)
        chosen = _choose(tools, "auto" if choice is None else choice)
        if choice == "none":
            return None
        return cls(
            tools=tools,
            must_call=choice not in (None, "auto"),
            is_parallel=inputs.get("parallel_tool_calls") is not False and _is_word(choice),
            chosen=chosen,
        )

    @property
    def is_held(self) -> bool:
        """Whether the answer is held to a form: it must call, or some calls must fit a schema."""
        return self.must_call or any(tool.is_strict for tool in self.tools)

    def holds(self, tool: Tool) -> bool:
        """Say whether the arguments of a tool's calls must fit its schema."""
        return self.must_call or tool.is_strict

    @property
    def names(self) -> frozenset[str]:
        """What the tools are called."""
        return frozenset(tool.name for tool in self.tools)


def _is_word(choice: object) -> bool:
    return choice is None or isinstance(choice, str)


def _read_tool(place: str, value: object) -> Tool:
    function = value.get("function") if isinstance(value, Mapping) else None
    if not isinstance(value, Mapping) or not isinstance(function, Mapping):
        message = f'{place} must be {{"type": "function", "function": {{"name": …}}}}.'
        raise InvalidInput(message)
    if value.get("type") != "function":
        raise InvalidInput(
            f"{place}.type: only functions can be called, not {value.get('type')!r}."
        )
    name = function.get("name")
    if not isinstance(name, str) or not _NAME.fullmatch(name):
        message = f"{place}.function.name must be 1 to 64 letters, digits, '_', '-' and '.'."
        raise InvalidInput(message)
    parameters = function.get("parameters")
    if parameters is None:
        parameters = {"properties": {}, "additionalProperties": False}
    if not isinstance(parameters, Mapping):
        raise InvalidInput(f"{place}.function.parameters must be a JSON Schema, an object.")
    strict = function.get("strict")
    if strict is not None and not isinstance(strict, bool):
        raise InvalidInput(f"{place}.function.strict must be true or false.")
    # Arguments are an object, whether the schema says so or not.
    return Tool(name, {"type": "object", **parameters}, value, is_strict=strict is True)


def _refuse_twins(tools: tuple[Tool, ...]) -> None:
    names = [tool.name for tool in tools]
    for name in names:
        if names.count(name) > 1:
            raise InvalidInput(f"Two of the 'tools' are called {name!r}.")


def _choose(tools: tuple[Tool, ...], choice: object) -> tuple[Tool, ...]:
    if isinstance(choice, str):
        if choice not in _WORDS:
            raise InvalidInput(f"'tool_choice' is {choice!r}.{nearest(choice, _WORDS)}")
        return tools
    function = choice.get("function") if isinstance(choice, Mapping) else None
    name = function.get("name") if isinstance(function, Mapping) else None
    if not isinstance(name, str):
        message = (
            '\'tool_choice\' must be a word, or {"type": "function", "function": {"name": …}}.'
        )
        raise InvalidInput(message)
    named = tuple(tool for tool in tools if tool.name == name)
    if not named:
        known = [tool.name for tool in tools]
        raise InvalidInput(f"'tool_choice' names no tool: {name!r}.{nearest(name, known)}")
    return named
