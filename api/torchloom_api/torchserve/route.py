"""Route: what answers a request, under which pattern, and with which token. Knows no path."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec

from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.token_file import TokenKind


#: Answers a request; None: it has done so already, in parts.
Answering = Callable[[Frontend, Request, Reply], Awaitable[Answer | None]]


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`pattern` stands in metrics for all paths that it fits. Without `tokens`, it is open."""

    pattern: str
    answer: Answering
    tokens: tuple[TokenKind, ...] = ()


def refusal_route(error: FrontendError, tokens: tuple[TokenKind, ...]) -> Route:
    """Give what refuses a path, to who has a token."""

    async def refuse(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
        raise error

    return Route(pattern="unknown", answer=refuse, tokens=tokens)
