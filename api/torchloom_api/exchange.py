"""Exchange: one request and its answer over raw ASGI. Knows no route and nothing of models."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Final, cast

from torchloom.random_id import new_id
from torchloom_api.connection import CONNECTION_KEY, Connection
from torchloom_api.tracing import Trace


if TYPE_CHECKING:
    from litestar.types import HTTPScope, Message, Receive, Send

#: What an id from a client may look like; anything else is replaced.
_REQUEST_ID: Final = re.compile(rb"^[A-Za-z0-9._:/+=@-]{1,128}$")

#: The key under which the exchange travels in the ASGI scope.
SCOPE_KEY: Final = "torchloom.exchange"

#: The status of a client that has gone: none sees it, but metrics count it.
GONE: Final = 499

Header = tuple[bytes, bytes]


class ClientGone(Exception):
    """The client closed the connection before its request was complete."""


def to_request_id(given: bytes | None) -> str:
    """Take the id that a client gives, if it can be one; else make one up."""
    is_usable = given is not None and _REQUEST_ID.match(given) is not None
    return given.decode() if given and is_usable else new_id()


class Exchange:
    """A request, read at most once, and its answer, begun at most once.

    Every answer carries the request's id (`own_id`, the client's, or a new one), and its place in
    the trace.
    """

    __slots__ = (
        "_headers",
        "_more",
        "_trace",
        "failure",
        "id",
        "path",
        "receive",
        "route",
        "scope",
        "send",
        "status",
    )

    def __init__(
        self, scope: HTTPScope, receive: Receive, send: Send, *, own_id: str | None = None
    ) -> None:
        self.scope = scope
        self.receive = receive
        self.send = send
        self.path = scope["path"]
        self._headers: dict[bytes, bytes] | None = None
        self.id = own_id or to_request_id(self.headers.get(b"x-request-id"))
        #: The pattern of the route that answers, for metrics.
        self.route = "unknown"
        #: What kept an answer that bypasses Litestar from being given; Edge deals with it.
        self.failure: Exception | None = None
        #: The status that was sent; 0 before.
        self.status = 0
        self._trace: Trace | None = None
        self._more: list[Header] = []

    @property
    def headers(self) -> dict[bytes, bytes]:
        """Give the request's headers by their names in lower case; of several, the last."""
        if self._headers is None:
            self._headers = dict(self.scope["headers"])
        return self._headers

    @property
    def connection(self) -> Connection | None:
        """Give what tells that the client has left; None where only `receive` does."""
        found = cast("Mapping[str, object]", self.scope).get(CONNECTION_KEY)
        return found if isinstance(found, Connection) else None

    @property
    def trace(self) -> Trace:
        """Give its place in the trace; made up where the client has named none."""
        if self._trace is None:
            self._trace = Trace.from_header(self.headers.get(b"traceparent"))
        return self._trace

    def _stamp(self) -> list[Header]:
        """Give what stands in the head of every answer."""
        return [
            (b"x-request-id", self.id.encode()),
            (b"traceparent", str(self.trace).encode()),
            *self._more,
        ]

    @property
    def has_begun(self) -> bool:
        """Tell whether an answer is under way, so that no other can be given."""
        return self.status != 0

    def close_after(self) -> None:
        """Have the client close the connection after this answer."""
        self._more.append((b"connection", b"close"))

    async def begin(self, status: int, headers: Iterable[Header]) -> None:
        """Send status and headers."""
        self.status = status
        await self.send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [*headers, *self._stamp()],
            }
        )

    async def write(self, body: bytes, *, is_last: bool = False) -> None:
        """Send a part of the body. Waits while the client reads more slowly than we write."""
        await self.send({"type": "http.response.body", "body": body, "more_body": not is_last})

    async def respond(
        self, status: int, body: bytes, media_type: bytes, headers: Iterable[Header] = ()
    ) -> None:
        """Send a whole answer."""
        size = str(len(body)).encode()
        start = [(b"content-type", media_type), (b"content-length", size), *headers]
        await self.begin(status, start)
        await self.send({"type": "http.response.body", "body": body, "more_body": False})

    async def send_stamped(self, message: Message) -> None:
        """Pass an answer of another ASGI application on, with our headers in it."""
        if message["type"] == "http.response.start":
            self.status = message["status"]
            message["headers"] = [*message["headers"], *self._stamp()]
        await self.send(message)

    async def closed(self) -> None:
        """Wait until the client has closed the connection; what is left of a body is dropped."""
        while (await self.receive())["type"] != "http.disconnect":
            pass
