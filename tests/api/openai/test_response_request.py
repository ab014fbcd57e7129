"""The body of a response, and its input."""

from __future__ import annotations

import pytest

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_struct
from torchloom_api.openai.response_request import ResponseRequest


def read(**fields: object) -> ResponseRequest:
    """Read a body."""
    return to_struct({"model": "m", **fields}, ResponseRequest)


def test_reads_text() -> None:
    """A text is what the user says; instructions go before it."""
    said = {"role": "user", "content": "hello"}
    assert read(input="hello").to_messages() == [said]
    assert read(input="hello", instructions="").to_messages() == [said]
    assert read(input="hello", instructions="Be brief.").to_messages() == [
        {"role": "system", "content": "Be brief."},
        said,
    ]


def test_reads_items() -> None:
    """Messages in their short and long forms, as they were sent and as they came back."""
    items = [
        {"role": "developer", "content": "d"},
        {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "u"}]},
        {
            "type": "message",
            "id": "msg_1",
            "status": "completed",
            "role": "assistant",
            "content": [{"type": "output_text", "text": "a", "annotations": []}],
        },
        {"role": "user", "content": "again", "name": 3},
    ]
    assert read(input=items).to_messages() == [
        {"role": "developer", "content": "d"},
        {"role": "user", "content": "u"},
        {"role": "assistant", "content": "a"},
        {"role": "user", "content": "again"},
    ]


@pytest.mark.parametrize(
    ("value", "param", "text"),
    [
        ("", "input", "'input' must hold text"),
        ([], "input", "'input' must hold text"),
        ([{"type": "reasoning", "summary": []}], "input[0].type", "items of type 'reasoning'"),
        ([{"type": 3}], "input[0].type", "items of type 3"),
        ([{"content": "x"}], "input[0].role", "is missing"),
        (
            [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}],
            "input[0].content[0].type",
            "is not read by a model of text",
        ),
    ],
)
def test_refuses_what_is_no_message(value: object, param: str, text: str) -> None:
    """The place is named."""
    with pytest.raises(InvalidRequest) as refused:
        read(input=value).to_messages()

    assert refused.value.param == param
    assert text in refused.value.message


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("input", 3),
        ("input", ["x"]),
        ("instructions", ["x"]),
        ("max_output_tokens", 0),
        ("metadata", {"a": 1}),
        ("metadata", {"a" * 65: "x"}),
        ("metadata", {"a": "x" * 513}),
        ("metadata", {str(n): "x" for n in range(17)}),
    ],
)
def test_bounds_its_fields(field: str, value: object) -> None:
    """What is of another type, or too much, is refused by name."""
    with pytest.raises(InvalidRequest, match=f"'{field}"):
        read(**{"input": "x", field: value})


def test_needs_input() -> None:
    """Without it there is nothing to answer."""
    with pytest.raises(InvalidRequest, match="'input' is missing"):
        read()
