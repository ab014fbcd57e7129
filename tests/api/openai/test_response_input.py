"""The items of a conversation, as messages."""

from __future__ import annotations

from torchloom_api.openai.response_input import to_items


def _call(name: str) -> dict[str, object]:
    return {"type": "function_call", "call_id": name, "name": name, "arguments": "{}", "id": "fc"}


def _said(name: str) -> dict[str, object]:
    return {"id": name, "type": "function", "function": {"name": name, "arguments": "{}"}}


def test_puts_calls_into_the_message_that_they_belong_to() -> None:
    """Those that follow on each other, or on what was said, are of one message."""
    items = [
        {"role": "user", "content": "hello"},
        {"type": "message", "role": "assistant", "content": "let me see"},
        _call("f"),
        _call("g"),
        {"type": "function_call_output", "call_id": "f", "output": "1"},
        {
            "type": "function_call_output",
            "call_id": "g",
            "output": [{"type": "input_text", "text": "2"}],
        },
        _call("h"),
    ]

    assert to_items(items, "input") == [
        {"role": "user", "content": "hello"},
        {"role": "assistant", "content": "let me see", "tool_calls": [_said("f"), _said("g")]},
        {"role": "tool", "content": "1", "tool_call_id": "f"},
        {"role": "tool", "content": "2", "tool_call_id": "g"},
        {"role": "assistant", "content": "", "tool_calls": [_said("h")]},
    ]
