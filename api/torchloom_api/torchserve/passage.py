"""Passage: a call of the native API that answers on a route of TorchServe's.

The request has been read already, and the head of the answer is Reply's. Knows no route.
"""

from __future__ import annotations

from typing import Final, cast

from litestar.types import HTTPReceiveMessage, HTTPScope, Message, Receive

from torchloom_api.exchange import Exchange
from torchloom_api.refusal import to_refusal
from torchloom_api.torchserve.answer import STREAM_NEXT, Answer
from torchloom_api.torchserve.frontend_error import internal
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request


#: What ends an event of a stream.
_END: Final = b"\n\n"


class Passage:
    """Makes an Exchange for the native call of a path, and sends what it answers.

    Each event of a stream is a chunk of its own: there are clients that count on it. A whole answer
    of more than `max_bytes` is refused as a handler's is.
    """

    def __init__(self, request: Request, reply: Reply, path: str, *, max_bytes: int) -> None:
        self._reply = reply
        self._body: bytes | None = request.body
        self._max_bytes = max_bytes
        self._whole: Answer | None = None
        outer = reply.exchange
        scope = cast("HTTPScope", {**outer.scope, "path": path})
        self.exchange = Exchange(scope, cast("Receive", self._receive), self._send, own_id=outer.id)

    def refuse(self, error: Exception) -> Answer:
        """Make an answer of an error, in the shape that the native route has."""
        refusal = to_refusal(error, self.exchange)
        headers = [(name.decode("latin-1"), v.decode("latin-1")) for name, v in refusal.headers]
        media_type = refusal.media_type.decode("latin-1")
        return Answer(
            status=refusal.status, body=refusal.body, content_type=media_type, headers=headers
        )

    async def _receive(self) -> HTTPReceiveMessage:
        """Give the body that was read, then what comes of the connection."""
        if self._body is None:
            return cast("HTTPReceiveMessage", await self._reply.exchange.receive())
        body, self._body = self._body, None
        return {"type": "http.request", "body": body, "more_body": False}

    async def _send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = {name.decode(): value.decode("latin-1") for name, value in message["headers"]}
            answer = Answer(status=message["status"], content_type=headers.get("content-type"))
            if "content-length" in headers:
                self._whole = answer
            else:
                await self._reply.begin(_streamed(answer))
        elif message["type"] == "http.response.body":
            await self._send_body(message["body"], is_last=not message["more_body"])

    async def _send_body(self, body: bytes, *, is_last: bool) -> None:
        if self._whole is None:
            *events, rest = body.split(_END)
            chunks = [event + _END for event in events] + ([rest] if rest or not events else [])
            for number, chunk in enumerate(chunks, start=1):
                await self._reply.write(chunk, is_last=is_last and number == len(chunks))
        elif len(body) > self._max_bytes:
            raise internal("Worker died.")
        else:
            whole = self._whole
            await self._reply.send(
                Answer(status=whole.status, content_type=whole.content_type, body=body)
            )


def _streamed(answer: Answer) -> Answer:
    return Answer(status=answer.status, content_type=answer.content_type, headers=(STREAM_NEXT,))
