"""Refusal: how an error is answered, in the shape of the API that was asked. Knows no route."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from torchloom_api.errors import PROBLEM, Problem
from torchloom_api.exchange import Exchange, Header
from torchloom_api.kserve import error as kserve
from torchloom_api.kserve.error import is_kserve
from torchloom_api.media import JSON, to_json
from torchloom_api.openai.error import to_document, to_status


#: Where OpenAI's shape of errors is spoken.
_OPENAI: Final = "/v1/"


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """An answer that is an error."""

    status: int
    body: bytes
    media_type: bytes
    headers: Sequence[Header]


def to_refusal(error: Exception, exchange: Exchange) -> Refusal:
    """Show any error to the client. What is not ours is logged, and told without details."""
    problem = Problem.from_error(error, instance=exchange.path, request_id=exchange.id)
    if is_kserve(exchange.path):
        return Refusal(
            status=kserve.to_status(problem),
            body=to_json(kserve.to_answer(problem)),
            media_type=JSON,
            headers=problem.headers,
        )
    if exchange.path.startswith(_OPENAI):
        return Refusal(
            status=to_status(problem),
            body=to_json(to_document(error, problem)),
            media_type=JSON,
            headers=problem.headers,
        )
    return Refusal(
        status=problem.status,
        body=problem.encode(),
        media_type=PROBLEM,
        headers=problem.headers,
    )
