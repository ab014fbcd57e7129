"""Route of the metrics port: whatever the frontend's page writes."""

from __future__ import annotations

from typing import Final

from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.route import Route


_TEXT: Final = "text/plain; version=0.0.4; charset=utf-8"

#: Names one metric that is asked for; there may be several.
_NAME: Final = "name[]"


def find_route(frontend: Frontend, request: Request) -> Route | None:  # noqa: ARG001 - the ports' face
    """Give what answers, or None where this port has no such path. It asks for no token."""
    if request.segments[:1] == ("metrics",):
        return Route(pattern="/metrics", answer=_answer)
    return None


async def _answer(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    names = [value for name, value in request.query if name == _NAME]
    return Answer(body=frontend.metrics_page(names), content_type=_TEXT)
