"""Messages of a conversation."""

from __future__ import annotations

import pytest

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.message import refuse_names, to_messages


def test_reads_messages() -> None:
    """Texts are joined, names kept, and what nobody knows is left out."""
    parts = [{"type": "text", "text": "a"}, {"type": "input_text", "text": "b"}]
    values: list[dict[str, object]] = [
        {"role": "system", "content": "s", "colour": "blue", "tool_calls": []},
        {"role": "user", "content": parts, "name": "Ann"},
    ]
    assert to_messages(values, "messages") == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "ab", "name": "Ann"},
    ]


@pytest.mark.parametrize(
    ("message", "param", "text"),
    [
        ({"role": "usr", "content": "x"}, "[0].role", "Did you mean 'user'?"),
        ({"role": "wizard", "content": "x"}, "[0].role", "Known: assistant, developer, system"),
        ({"role": 3, "content": "x"}, "[0].role", "Expected `str`"),
        ({"role": "user", "content": "x", "name": 3}, "[0].name", "Expected `str"),
        ({"role": "user", "content": [3]}, "[0].content[0]", "Expected `object`"),
        ({"role": "user", "content": {"type": "text"}}, "[0].content", "Expected `str | array | "),
        ({"role": "user", "content": [{"type": "video"}]}, "[0].content[0].type", "is unknown"),
        (
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "x"}}]},
            "[0].content[0].type",
            "is not read by a model of text",
        ),
        ({"role": "assistant", "tool_calls": [{}]}, "[0].tool_calls[0].id", "is missing"),
        ({"role": "assistant", "content": None}, "[0].content", "is missing"),
        ({"role": "assistant", "content": "x", "refusal": "no"}, "[0].refusal", "is not served"),
    ],
)
def test_refuses_a_bad_message(message: dict[str, object], param: str, text: str) -> None:
    """The place is named, and what is wrong there."""
    with pytest.raises(InvalidRequest, match="messages") as refused:
        to_messages([message], "messages")

    assert refused.value.param == f"messages{param}"
    assert text in refused.value.message


def test_reads_calls_and_what_came_of_them() -> None:
    """An assistant that calls need not say anything; a tool names the call that it answers."""
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": "{}"}}
    values: list[dict[str, object]] = [
        {"role": "assistant", "content": None, "tool_calls": [{**call, "colour": "blue"}]},
        {"role": "tool", "tool_call_id": "c1", "content": "7"},
    ]
    assert to_messages(values, "messages") == [
        {"role": "assistant", "content": "", "tool_calls": [call]},
        {"role": "tool", "content": "7", "tool_call_id": "c1"},
    ]


def test_refuses_names_for_models() -> None:
    """Models of text read none."""
    messages = [{"role": "user", "content": "a"}, {"role": "user", "content": "a", "name": "Ann"}]
    refuse_names(messages[:1], "messages")
    with pytest.raises(InvalidRequest, match="is read by workflows, and by no model") as refused:
        refuse_names(messages, "messages")

    assert refused.value.param == "messages[1].name"
