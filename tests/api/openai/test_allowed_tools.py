"""Tests of allowed tools: narrow gives what a request may call, and whether it must."""

from __future__ import annotations

import pytest

from torchloom_api.openai.allowed_tools import narrow
from torchloom_api.openai.error import InvalidRequest


def tool(name: str) -> dict[str, object]:
    """Name a tool as chats do."""
    return {"type": "function", "function": {"name": name}}


TOOLS = [tool("now"), tool("get_weather"), tool("pay")]


@pytest.mark.parametrize("choice", [None, "auto", "required", tool("now"), 3])
def test_leaves_other_choices_alone(choice: object) -> None:
    """Words, and one function, are the model's to read."""
    assert narrow(TOOLS, choice) == (TOOLS, choice)


@pytest.mark.parametrize("mode", ["auto", "required"])
def test_narrows_what_a_chat_may_call(mode: str) -> None:
    """The allowed alone are offered, as the request describes them."""
    allowed = {"mode": mode, "tools": [tool("pay"), tool("now")]}
    narrowed = narrow(TOOLS, {"type": "allowed_tools", "allowed_tools": allowed})

    assert narrowed == ([TOOLS[2], TOOLS[0]], mode)


def test_narrows_what_a_response_may_call() -> None:
    """Responses name tools without a field of their own."""
    named = {"type": "function", "name": "now"}
    choice = {"type": "allowed_tools", "mode": "required", "tools": [named]}

    assert narrow(TOOLS, choice) == ([TOOLS[0]], "required")


@pytest.mark.parametrize(
    ("allowed", "param", "says"),
    [
        ({"mode": "auto", "tools": [tool("noww")]}, "tools[0]", "Did you mean 'now'?"),
        ({"mode": "auto", "tools": [tool("now"), {}]}, "tools[1]", "names none"),
        ({"mode": "auto", "tools": [{"function": {"name": ["now"]}}]}, "tools[0]", "names none"),
        ({"mode": "auto", "tools": []}, "tools", "at least"),
        ({"mode": "auto"}, "tools", "at least"),
        ({"mode": "none", "tools": [tool("now")]}, "mode", "Invalid enum value"),
        ({"mode": "auto", "tools": ["now"]}, "tools[0]", "Expected `object`"),
        ({"tools": [tool("now")]}, "mode", "missing"),
    ],
)
def test_names_what_is_wrong(allowed: dict[str, object], param: str, says: str) -> None:
    """The place is told as the client wrote it."""
    with pytest.raises(InvalidRequest) as chat:
        narrow(TOOLS, {"type": "allowed_tools", "allowed_tools": allowed})
    with pytest.raises(InvalidRequest) as response:
        narrow(TOOLS, {"type": "allowed_tools", **allowed})

    assert chat.value.param == f"tool_choice.allowed_tools.{param}"
    assert response.value.param == f"tool_choice.{param}"
    assert says in str(chat.value)


def test_names_an_allowance_that_is_none() -> None:
    """A word in place of the allowance."""
    with pytest.raises(InvalidRequest) as refused:
        narrow(TOOLS, {"type": "allowed_tools", "allowed_tools": "now"})

    assert refused.value.param == "tool_choice.allowed_tools"
