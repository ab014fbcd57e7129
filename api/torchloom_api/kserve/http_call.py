"""The calls of KServe that do the work, over HTTP. Raw ASGI, since they are hot."""

from __future__ import annotations

from typing import Final

from torchloom_api.body import read_body
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.kserve.call import infer
from torchloom_api.kserve.infer_answer import to_body
from torchloom_api.kserve.infer_body import read_call
from torchloom_api.media import JSON
from torchloom_api.presence import while_present
from torchloom_api.service import Service


#: The header, both ways, that says how long the JSON is where raw data follows it.
_HEADER_SIZE: Final = b"inference-header-content-length"

_RAW: Final = b"application/octet-stream"


async def answer_infer(service: Service, exchange: Exchange, model: str, version: str = "") -> None:
    """Answer a request of v2."""
    service.require_started()
    options = read_options(service, exchange)
    body = await read_body(exchange, service.settings.body_limit)
    header_size = exchange.headers.get(_HEADER_SIZE)
    call, wish = read_call(body, header_size, model=model, version=version)
    answer = await while_present(exchange, infer(service, call, options))
    answer_body, size = to_body(answer, wish)
    if size is None:
        await exchange.respond(200, answer_body, JSON)
    else:
        place = [(_HEADER_SIZE, str(size).encode())]
        await exchange.respond(200, answer_body, _RAW, place)
