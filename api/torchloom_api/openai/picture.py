"""The call that draws pictures: its answer, and the work. Raw ASGI, as all calls that work are."""

from __future__ import annotations

import base64
import struct
import time
from collections.abc import Sequence
from typing import Literal, cast

import msgspec

from torchloom.engine import Values
from torchloom_api.call import read_options
from torchloom_api.exchange import Exchange
from torchloom_api.media import JSON, to_json
from torchloom_api.openai.picture_request import PictureRequest
from torchloom_api.openai.request_body import read_request
from torchloom_api.openai.served_model import pick_model
from torchloom_api.openai.side_by_side import all_of
from torchloom_api.openai.unserved_field import PICTURE
from torchloom_api.presence import while_present
from torchloom_api.service import Service


class Picture(msgspec.Struct, frozen=True, kw_only=True):
    """A PNG file in base64, and the seed that draws it again, which OpenAI does not have."""

    b64_json: str
    seed: int


class Pictures(msgspec.Struct, frozen=True, kw_only=True):
    """What was drawn. `size` is that of the pictures, as `512x512`."""

    created: int
    data: Sequence[Picture]
    size: str
    output_format: Literal["png"] = "png"
    background: Literal["opaque"] = "opaque"


async def draw(service: Service, exchange: Exchange) -> None:
    """Draw one or several pictures, each a task of its own."""
    service.require_started()
    request = await read_request(exchange, service.settings.body_limit, PictureRequest, PICTURE)
    params = request.to_params()
    deployment = pick_model(service, request.model, "diffusion")
    check = service.checks.of(f"model {deployment.label}", deployment.signature)
    check.check_params(params)
    options = read_options(service, exchange)
    tasks = [
        service.orchestrator.predict(
            deployment.name,
            {"prompt": request.prompt},
            {**params, **seed},
            version=deployment.version,
            options=options,
        )
        for seed in request.to_seeds()
    ]
    outputs = await while_present(exchange, all_of(tasks))
    await exchange.respond(200, to_json(_to_answer(outputs)), JSON)


def _to_answer(drawn: Sequence[Values]) -> Pictures:
    files = [bytes(cast("bytes", outputs["image"])) for outputs in drawn]
    seeds = [cast("int", outputs["seed"]) for outputs in drawn]
    return Pictures(
        created=int(time.time()),
        data=[
            Picture(b64_json=base64.b64encode(file).decode(), seed=seed)
            for file, seed in zip(files, seeds, strict=True)
        ],
        size=_to_size(files[0]),
    )


def _to_size(file: bytes) -> str:
    """Read width and height from a PNG's first chunk (ISO/IEC 15948, 11.2.2)."""
    width, height = struct.unpack(">II", file[16:24])
    return f"{width}x{height}"
