"""Client: a TorchLoom server over HTTP. Knows the paths of the API; prints nothing."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager
from http import HTTPStatus
from types import TracebackType
from typing import Self

import httpx
from httpx_sse import connect_sse

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.run_event import RunEvent


#: Seconds to wait for a connection; answers may take as long as the models need.
_CONNECT_TIMEOUT_S = 5.0


class Client:
    """Talks to one server. Every method raises Failure where the server refuses or is not there."""

    def __init__(
        self, url: str, *, api_key: str | None = None, transport: httpx.BaseTransport | None = None
    ) -> None:
        headers = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._url = url.rstrip("/")
        self._http = httpx.Client(
            base_url=self._url,
            headers=headers,
            timeout=httpx.Timeout(None, connect=_CONNECT_TIMEOUT_S),
            transport=transport,
        )

    def __enter__(self) -> Self:
        """Open the connection pool."""
        self._http.__enter__()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every connection: a run that was being streamed is cancelled by the server."""
        self._http.__exit__(kind, error, trace)

    def get(self, path: str, *, params: Mapping[str, str] | None = None) -> object:
        """Fetch a JSON document."""
        return self._call("GET", path, params=params).json()

    def show(self, path: str) -> Mapping[str, object]:
        """Fetch a JSON object."""
        return _to_object(self.get(path))

    def send(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
    ) -> object:
        """Send a JSON body; give the JSON answer, or None where there is none."""
        response = self._call(method, path, body=body, params=params)
        return response.json() if response.content else None

    def upload(self, path: str, *, text: str, file: str) -> Mapping[str, object]:
        """Send a file as it was written; faults that the server finds carry the file's name."""
        with self._reached():
            response = self._http.post(
                path, content=text.encode(), headers={"Content-Type": "application/yaml"}
            )
        _raise_for_problem(response, file=file)
        return _to_object(response.json())

    def run(self, workflow: str, inputs: Mapping[str, object]) -> Generator[RunEvent]:
        """Start a run and give its events as they come. Leaving the iterator cancels the run."""
        path = f"/api/workflows/{workflow}/runs"
        with (
            self._reached(),
            connect_sse(self._http, "POST", path, json=dict(inputs)) as source,
        ):
            if source.response.is_error:
                source.response.read()
                _raise_for_problem(source.response)
            for event in source.iter_sse():
                if event.data:  # the library also gives the comments that keep connections alive
                    yield RunEvent(event.event, event.json())

    def _call(
        self,
        method: str,
        path: str,
        *,
        body: object = None,
        params: Mapping[str, str] | None = None,
    ) -> httpx.Response:
        with self._reached():
            response = self._http.request(method, path, json=body, params=params)
        _raise_for_problem(response)
        return response

    @contextmanager
    def _reached(self) -> Iterator[None]:
        try:
            yield
        except (httpx.ConnectError, httpx.ConnectTimeout, httpx.UnsupportedProtocol) as error:
            message = (
                f"No server answers at {self._url} ({error}). Start one with "
                "`torchloom serve FILE`, or name another with --server."
            )
            raise Failure(message, code=ExitCode.UNREACHABLE) from error
        except httpx.HTTPError as error:
            message = f"The server at {self._url} broke off: {error or type(error).__name__}."
            raise Failure(message) from error


def _to_object(value: object) -> Mapping[str, object]:
    if not isinstance(value, dict):
        message = f"The server answered with {type(value).__name__}, not with an object."
        raise Failure(message)
    return value


def _raise_for_problem(response: httpx.Response, *, file: str = "") -> None:
    if not response.is_error:
        return
    try:
        problem = response.json()
    except ValueError:
        problem = {"detail": response.text}
    known = problem if isinstance(problem, dict) else {}
    if response.status_code == HTTPStatus.UNAUTHORIZED:
        detail = f"{known.get('detail', '')} Give it in --api-key or TORCHLOOM_API_KEY."
        known = {**known, "detail": detail}
    raise Failure.from_problem(response.status_code, known, file=file)
