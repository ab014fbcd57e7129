"""The client's side of the HTTP API."""

from __future__ import annotations

import json
from collections.abc import Callable

import httpx
import pytest

from torchloom_api.cli.client import Client
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure


Answer = Callable[[httpx.Request], httpx.Response]


def _client(answer: Answer) -> Client:
    return Client("http://server", api_key="key", transport=httpx.MockTransport(answer))


def test_gives_the_events_of_a_run() -> None:
    """Events keep type and data; the comment lines that keep the connection alive are no events."""
    seen: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        body = (
            'id: 1\nevent: node.chunk\ndata: {"text": "Hä"}\n\n: alive\n\n'
            'id: 2\nevent: run.finished\ndata: {"outputs": {}}\n\n'
        )
        return httpx.Response(200, text=body, headers={"Content-Type": "text/event-stream"})

    events = list(_client(answer).run("rag", {"question": "why"}))
    assert [(event.type, event.data) for event in events] == [
        ("node.chunk", {"text": "Hä"}),
        ("run.finished", {"outputs": {}}),
    ]
    assert seen[0].url.path == "/api/workflows/rag/runs"
    assert json.loads(seen[0].content) == {"question": "why"}
    assert "text/event-stream" in seen[0].headers["Accept"]
    assert seen[0].headers["Authorization"] == "Bearer key"


def _problem(status: int, **more: object) -> Answer:
    return lambda _: httpx.Response(status, json={"title": "No", "detail": "Why not.", **more})


def test_says_what_the_server_says() -> None:
    """A problem document's detail is the message; 404 has an exit code of its own."""
    with pytest.raises(Failure) as caught:
        _client(_problem(404)).get("/api/workflows/rug")
    assert caught.value.message == "Why not."
    assert caught.value.exit_code == ExitCode.NOT_FOUND


def test_says_so_for_a_run_too() -> None:
    """A run that is refused gives the same failure as any other call."""
    with pytest.raises(Failure, match="Why not"):
        list(_client(_problem(422)).run("rag", {}))


def test_points_into_the_file_that_was_sent() -> None:
    """Faults of an upload carry the name of the user's file, with line and column."""
    answer = _problem(422, errors=[{"message": "Unknown key.", "line": 3, "column": 7}])
    with pytest.raises(Failure) as caught:
        _client(answer).upload("/api/workflows", text="name: x", file="x.yaml")
    assert caught.value.faults == ("x.yaml:3:7: Unknown key.",)
    assert caught.value.exit_code == ExitCode.INVALID_FILE


def test_points_into_the_body_by_pointer() -> None:
    """Faults of a JSON body carry its JSON pointer."""
    answer = _problem(422, errors=[{"message": "Too long.", "pointer": "/question"}])
    with pytest.raises(Failure) as caught:
        list(_client(answer).run("rag", {}))
    assert caught.value.faults == ("/question: Too long.",)
    assert caught.value.exit_code == ExitCode.FAILED


def test_says_that_no_server_answers() -> None:
    """Where nothing listens, the exit code says so, and the message how to start a server."""

    def answer(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("refused", request=request)

    with pytest.raises(Failure, match="torchloom serve FILE") as caught:
        _client(answer).get("/api/models")
    assert caught.value.exit_code == ExitCode.UNREACHABLE


def test_survives_an_answer_that_is_no_problem_document() -> None:
    """A proxy's page is shown as it is, not as a traceback."""
    with pytest.raises(Failure, match="Bad gateway"):
        _client(lambda _: httpx.Response(502, text="Bad gateway")).get("/api/models")


def test_says_where_a_key_goes() -> None:
    """A server that asks for a key is told apart from one that fails."""
    with pytest.raises(Failure, match="Give it in --api-key or TORCHLOOM_API_KEY"):
        _client(_problem(401)).get("/api/models")
