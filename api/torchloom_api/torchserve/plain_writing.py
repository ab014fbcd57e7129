"""Plain writing: a prompt in, text out, as TensorRT-LLM's handler of TorchServe has it.

A body such as `{"prompt": …, "max_new_tokens": …, "streaming": true}`; the answer is the text, or a
JSON object with each piece of it. Knows no route.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Final

from torchloom.errors import TorchLoomError
from torchloom.timings import Meter
from torchloom_api.body import parse_json
from torchloom_api.presence import while_present
from torchloom_api.torchserve.answer import STREAM_NEXT, Answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import bad_request
from torchloom_api.torchserve.prediction import Call, Prediction, say
from torchloom_api.torchserve.pulled_prediction import PulledPrediction
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request


#: The most tokens where nothing is said, as TensorRT-LLM has it.
_MAX_TOKENS: Final = 32

#: TensorRT-LLM's words for parameters → ours, where they differ.
_RENAMED: Final[Mapping[str, str]] = {
    "max_new_tokens": "max_tokens",
    "random_seed": "seed",
    "min_length": "min_tokens",
}

#: Tokens that the model has of its own.
_DROPPED: Final = frozenset({"end_id", "pad_id"})


async def write_plainly(
    frontend: Frontend, request: Request, reply: Reply, call: Call, served: Served, meter: Meter
) -> Answer | None:
    """Write. Gives the answer, or None where it was sent in parts. Raises FrontendError."""
    prompt, params, is_streamed = _read(request.body)
    deployment = frontend.service.orchestrator.model(served.name, served.number).deployment
    frontend.service.checks.of(f"model {deployment.label}", deployment.signature).check_params(
        dict(params)
    )
    prediction = PulledPrediction(Prediction(frontend, served, {"prompt": prompt}, params, meter))
    writing = _stream(prediction, reply) if is_streamed else _write(prediction)
    try:
        return await while_present(reply.exchange, writing)
    except TorchLoomError as error:
        if reply.exchange.has_begun:
            raise  # the connection is cut: the status cannot be taken back
        raise say(error, call, frontend, request.id) from error
    finally:
        prediction.cancel()


async def _write(prediction: PulledPrediction) -> Answer:
    async for _ in prediction.chunks():
        pass  # none is kept
    outputs = await prediction.outputs()
    return Answer(body=str(outputs["text"]).encode())


async def _stream(prediction: PulledPrediction, reply: Reply) -> None:
    async for outputs in prediction.chunks():
        text = outputs.get("text")
        if text and not reply.exchange.has_begun:
            await reply.begin(Answer(headers=(STREAM_NEXT,)))
        if text:
            await reply.write(json.dumps({"text": text}).encode())
    await prediction.outputs()
    if not reply.exchange.has_begun:
        await reply.begin(Answer(headers=(STREAM_NEXT,)))
    await reply.write(b"", is_last=True)


def _read(body: bytes) -> tuple[str, dict[str, object], bool]:
    """Give the prompt, the parameters, and whether pieces are asked for. Raises FrontendError."""
    values = parse_json(body)
    if not isinstance(values, dict):
        raise bad_request('The body must be an object, such as {"prompt": "…"}.')
    prompt, is_streamed = values.pop("prompt", None), values.pop("streaming", False)
    if not isinstance(prompt, str) or not prompt:
        raise bad_request("'prompt' must be a text that is not empty.")
    if not isinstance(is_streamed, bool):
        raise bad_request("'streaming' must be true or false.")
    params = {
        _RENAMED.get(name, name): value
        for name, value in values.items()
        if name not in _DROPPED and value is not None
    }
    return prompt, {"max_tokens": _MAX_TOKENS, **params}, is_streamed
