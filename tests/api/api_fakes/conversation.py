"""Conversation: one request over raw ASGI, with a client that may leave in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from torchloom_api.edge import Edge


class Conversation:
    """Begins a request and collects what is answered; `leave` closes the connection.

    The body may come in parts; one that is cut never comes to its end.
    """

    def __init__(
        self,
        edge: Edge,
        method: str,
        path: str,
        *,
        body: bytes | Sequence[bytes] = b"",
        headers: Mapping[str, str] | None = None,
        query: str = "",
        is_cut: bool = False,
    ) -> None:
        self.status = 0
        self.headers: dict[str, str] = {}
        self.body = b""
        self.is_complete = False
        self._parts = [body] if isinstance(body, bytes) else list(body)
        self._is_cut = is_cut
        self._gone = asyncio.Event()
        self._news = asyncio.Condition()
        scope = {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.3"},
            "http_version": "1.1",
            "method": method,
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "scheme": "http",
            "server": ("test", 80),
            "client": ("127.0.0.1", 1),
            "headers": [
                (name.lower().encode(), value.encode()) for name, value in (headers or {}).items()
            ],
            "state": {},
        }
        self.task = asyncio.create_task(edge(scope, self._receive, self._send))

    def leave(self) -> None:
        """Close the connection."""
        self._gone.set()

    async def until(self, text: bytes) -> None:
        """Wait until the body holds a text."""
        async with self._news:
            await self._news.wait_for(lambda: text in self.body)

    async def end(self) -> None:
        """Wait until the server is done with the request."""
        await self.task

    async def _receive(self) -> dict[str, object]:
        if self._parts:
            part = self._parts.pop(0)
            return {
                "type": "http.request",
                "body": part,
                "more_body": bool(self._parts) or self._is_cut,
            }
        await self._gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, object]) -> None:
        async with self._news:
            if message["type"] == "http.response.start":
                self.status = message["status"]
                self.headers = {k.decode(): v.decode() for k, v in message["headers"]}
            else:
                self.body += message.get("body", b"")
                self.is_complete = not message.get("more_body", False)
            self._news.notify_all()


def read_events(body: bytes) -> list[tuple[int, str, str]]:
    """Read an event stream: id, event and data of each; comments are left out."""
    events = []
    for block in body.decode().split("\n\n"):
        fields = dict(
            line.split(": ", 1) for line in block.split("\n") if line and not line.startswith(":")
        )
        if fields:
            events.append((int(fields["id"]), fields["event"], fields["data"]))
    return events
