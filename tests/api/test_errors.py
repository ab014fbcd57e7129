"""Problem documents."""

from __future__ import annotations

import msgspec
import pytest
from litestar.exceptions import MethodNotAllowedException, ValidationException

from torchloom.errors import (
    Conflict,
    Fault,
    InvalidWorkflow,
    NodeFailed,
    PartFailed,
    QueueFull,
    TaskFailed,
    TorchLoomError,
)
from torchloom_api.errors import Problem


def show(error: Exception) -> dict[str, object]:
    """Show an error as a client sees it."""
    problem = Problem.from_error(error, instance="/api/x", request_id="abc")
    return msgspec.json.decode(problem.encode())


def test_shows_an_error_of_ours() -> None:
    """Type, title, status, detail and instance come from the error."""
    assert show(Conflict("Say another.")) == {
        "type": "urn:torchloom:conflict",
        "title": Conflict.title,
        "status": 409,
        "detail": "Say another.",
        "instance": "/api/x",
    }


def test_shows_every_fault_with_what_is_known() -> None:
    """Each fault has its place, as far as it is known."""
    faults = [Fault(message="a", file="f", line=1, column=2, pointer="/p"), Fault(message="b")]

    assert show(InvalidWorkflow("no", faults=faults))["errors"] == [
        {"message": "a", "pointer": "/p", "file": "f", "line": 1, "column": 2},
        {"message": "b"},
    ]


@pytest.mark.parametrize(
    ("after_s", "header", "exact"),
    [(None, b"1", 1.0), (0.02, b"1", 0.02), (1.5, b"2", 1.5), (30.0, b"30", 30.0)],
)
def test_always_says_when_to_come_back(after_s: float | None, header: bytes, exact: float) -> None:
    """503 carries whole seconds in the header, and the exact time in the document."""
    error = QueueFull("full", retry_after_s=after_s)
    problem = Problem.from_error(error, instance="/", request_id="")

    assert problem.headers == [(b"retry-after", header)]
    assert problem.retry_after_s == exact


def test_says_what_made_a_node_fail() -> None:
    """A node's failure has the type, status and title of its cause."""
    error = NodeFailed("answer", QueueFull("full", retry_after_s=2.0))

    assert error.type == "urn:torchloom:queue-full"
    assert show(error)["status"] == 503
    assert show(error)["retry_after_s"] == 2.0
    assert NodeFailed("a", TaskFailed("x")).type == "urn:torchloom:task-failed"


def test_shows_litestars_errors_by_status() -> None:
    """What the framework refuses looks the same."""
    extra = [{"message": "Expected `int`", "key": "limit", "source": "query"}]
    validation = show(ValidationException(detail="bad", extra=extra))
    method = show(MethodNotAllowedException())

    assert validation["errors"] == [{"message": "query parameter 'limit': Expected `int`"}]
    assert (method["status"], method["title"]) == (405, "Method Not Allowed")


def test_tells_nothing_of_other_errors(caplog: pytest.LogCaptureFixture) -> None:
    """An error that is not ours shows an id; its words and trace are in the log alone."""
    problem = show(ValueError("password=1234"))

    assert problem["status"] == 500
    assert "abc" in str(problem["detail"])
    assert "1234" not in str(problem)
    assert "password=1234" in caplog.text


def test_gives_every_error_of_the_core_a_status() -> None:
    """Each class in the tree can be shown."""

    def below(kind: type[TorchLoomError]) -> list[type[TorchLoomError]]:
        return [kind, *(each for child in kind.__subclasses__() for each in below(child))]

    for kind in below(TorchLoomError):
        if not issubclass(kind, PartFailed) and not kind.__module__.startswith("test"):
            assert 400 <= show(kind("why"))["status"] < 600
