"""Routes of KServe v1 below `/v1`. Edge answers them itself; they stand here for the documents.

`GET /v1/models` and `/v1/models/{label}` are OpenAI's as well, and stand with those.
"""

from __future__ import annotations

from litestar import post
from litestar.exceptions import NotFoundException
from litestar.types import ASGIApp

from torchloom_api.kserve.hot_call import VERBS
from torchloom_api.native.access import INFERENCE
from torchloom_api.native.request import (
    AnyRequest,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)


@post("/models/{call:str}", status_code=200, opt=INFERENCE, operation_id="predictV1")
async def post_verb(call: PathText, request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Ask a model: `call` is its label, and `:predict` or `:explain`."""
    exchange = to_exchange(request)
    label, _, verb = call.rpartition(":")
    if not label or verb not in VERBS:
        message = f"There is no call {call!r}: write MODEL:predict or MODEL:explain."
        raise NotFoundException(detail=message)
    return answer_by(exchange, VERBS[verb](service, exchange, label))
