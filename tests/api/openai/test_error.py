"""Errors in OpenAI's shape."""

from __future__ import annotations

import pytest

from torchloom.errors import (
    Fault,
    InputTooLong,
    InvalidInput,
    NodeFailed,
    QueueFull,
    TaskFailed,
    UnknownModel,
)
from torchloom_api.errors import BadRequest, Problem
from torchloom_api.openai.error import InvalidRequest, to_document, to_status


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            InvalidRequest("x", param="n", code="invalid_value"),
            (400, "invalid_request_error", "n", "invalid_value"),
        ),
        (BadRequest("x"), (400, "invalid_request_error", None, None)),
        (InvalidInput("x"), (400, "invalid_request_error", None, None)),
        (
            InvalidInput("x", faults=[Fault(message="x", pointer="/logit_bias/a")]),
            (400, "invalid_request_error", "logit_bias", None),
        ),
        (
            InputTooLong("x"),
            (400, "invalid_request_error", None, "context_length_exceeded"),
        ),
        (UnknownModel("x"), (404, "invalid_request_error", "model", "model_not_found")),
        (QueueFull("x"), (503, "server_error", None, "queue_full")),
        (TaskFailed("x"), (500, "server_error", None, "task_failed")),
    ],
)
def test_shows_an_error(
    error: Exception, expected: tuple[int, str, str | None, str | None]
) -> None:
    """Status, type, param and code follow from the error; the message is its own."""
    problem = Problem.from_error(error, instance="/v1/x", request_id="1")
    detail = to_document(error, problem).error

    assert (to_status(problem), detail.type, detail.param, detail.code) == expected
    assert detail.message == "x"


@pytest.mark.parametrize(
    ("cause", "code"),
    [
        (InputTooLong("Text 0 is too long."), "context_length_exceeded"),
        (InvalidInput("x", faults=[Fault(message="x", pointer="/messages")]), None),
    ],
)
def test_shows_what_a_node_refuses(cause: InvalidInput, code: str | None) -> None:
    """The code is that of the cause, however deep; the node's own inputs are no fields."""
    error = NodeFailed("outer", NodeFailed("answer", cause))
    problem = Problem.from_error(error, instance="/v1/x", request_id="1")
    detail = to_document(error, problem).error

    assert (to_status(problem), detail.param, detail.code) == (400, None, code)
    assert detail.message.startswith("Node 'outer': Node 'answer': ")


def test_hides_what_went_wrong_in_the_server() -> None:
    """An error that is not ours is told by the request's id alone."""
    error = RuntimeError("secret")
    problem = Problem.from_error(error, instance="/v1/x", request_id="abc")
    detail = to_document(error, problem).error

    assert "secret" not in detail.message
    assert "abc" in detail.message
    assert (detail.type, detail.code) == ("server_error", None)
