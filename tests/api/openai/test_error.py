"""Errors in OpenAI's shape."""

from __future__ import annotations

import pytest

from torchloom.errors import Fault, InvalidInput, QueueFull, TaskFailed, UnknownModel
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


def test_hides_what_went_wrong_in_the_server() -> None:
    """An error that is not ours is told by the request's id alone."""
    error = RuntimeError("secret")
    problem = Problem.from_error(error, instance="/v1/x", request_id="abc")
    detail = to_document(error, problem).error

    assert "secret" not in detail.message
    assert "abc" in detail.message
    assert (detail.type, detail.code) == ("server_error", None)
