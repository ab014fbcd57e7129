"""Methods: coroutines and streams become the methods of a service; whatever they raise, a status.

Tokens are asked for here, and those who watch are told. Knows no service.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from grpc import StatusCode

from torchloom_api.exchange import GONE
from torchloom_api.grpc import handler
from torchloom_api.torchserve.frontend import Called, Frontend
from torchloom_api.torchserve.frontend_error import to_frontend_error
from torchloom_api.torchserve.grpc.grpc_call import GrpcCall
from torchloom_api.torchserve.grpc.refusal import Refusal, to_number
from torchloom_api.torchserve.token_file import TokenKind


#: Answers a call; messages are of the method's own types.
Answer = Callable[..., Awaitable[object]]

#: Answers a call as often as it likes.
Stream = Callable[..., AsyncGenerator[object, None]]

_KEY_REFUSED: Final = "InvalidKeyException"

#: As what the server's own metrics, which know HTTP's statuses, count how a call ended.
_STATUSES: Final[Mapping[StatusCode, int]] = {
    StatusCode.OK: 200,
    StatusCode.CANCELLED: GONE,
    StatusCode.INVALID_ARGUMENT: 400,
    StatusCode.UNAUTHENTICATED: 401,
    StatusCode.PERMISSION_DENIED: 403,
    StatusCode.NOT_FOUND: 404,
    StatusCode.ABORTED: 409,
    StatusCode.RESOURCE_EXHAUSTED: 429,
    StatusCode.UNAVAILABLE: 503,
    StatusCode.DEADLINE_EXCEEDED: 504,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """What answers a method, given the request and its call, and whose token it asks for.

    One of `answer` and `stream` is there. Without a scope, it is for everybody.
    """

    answer: Answer | None = None
    stream: Stream | None = None
    scope: TokenKind | None


def to_handler(
    frontend: Frontend,
    descriptor: ServiceDescriptor,
    methods: Mapping[str, Method],
    *,
    name: str | None = None,
) -> grpc.ServiceRpcHandler:
    """Make what a gRPC server calls: see `handler.py`."""
    service = name or descriptor.full_name
    behaviours = {
        each: _to_behaviour(frontend, method, f"{service}/{each}")
        for each, method in methods.items()
    }
    return handler.to_handler(descriptor, behaviours, name=name)


def _to_behaviour(frontend: Frontend, method: Method, path: str) -> handler.Behaviour:
    async def answer(request: object, context: grpc.aio.ServicerContext) -> object:
        return await _answer(frontend, method, path, request, context)

    async def stream(
        request: object, context: grpc.aio.ServicerContext
    ) -> AsyncGenerator[object, None]:
        async with aclosing(_stream(frontend, method, path, request, context)) as parts:
            async for part in parts:
                yield part

    return answer if method.stream is None else stream


async def _answer(
    frontend: Frontend,
    method: Method,
    path: str,
    request: object,
    context: grpc.aio.ServicerContext,
) -> object:
    """Answer a call once, or refuse it."""
    assert method.answer is not None, "it is no stream"
    call = _begin(frontend, context, path)
    code = StatusCode.OK
    try:
        _admit(frontend, method, call)
        return await method.answer(request, call)
    except asyncio.CancelledError:
        code = StatusCode.CANCELLED
        raise
    except Exception as error:  # noqa: BLE001 - one of two places where any error becomes a status
        refusal = _to_refusal(error, call)
        code = refusal.code
    finally:
        _end(frontend, call, code)
    await context.abort(refusal.code, refusal.details)
    return None  # abort raises


async def _stream(
    frontend: Frontend,
    method: Method,
    path: str,
    request: object,
    context: grpc.aio.ServicerContext,
) -> AsyncGenerator[object, None]:
    """Answer a call part by part; refuse it where it cannot begin, or not go on."""
    assert method.stream is not None, "it is a stream"
    call = _begin(frontend, context, path)
    code = StatusCode.OK
    refusal = None
    try:
        _admit(frontend, method, call)
        async with aclosing(method.stream(request, call)) as parts:
            async for part in parts:
                yield part
    except (asyncio.CancelledError, GeneratorExit):
        code = StatusCode.CANCELLED
        raise
    except Exception as error:  # noqa: BLE001 - the other one
        refusal = _to_refusal(error, call)
        code = refusal.code
    finally:
        _end(frontend, call, code)
    if refusal is not None:
        await context.abort(refusal.code, refusal.details)


def _begin(frontend: Frontend, context: grpc.aio.ServicerContext, path: str) -> GrpcCall:
    frontend.service.requests.num_in_hand += 1
    return GrpcCall.of(context, path)


def _admit(frontend: Frontend, method: Method, call: GrpcCall) -> None:
    """Refuse a caller without the token."""
    if method.scope is not None:
        frontend.gate.require_token(call.metadata.get("authorization"), [method.scope])


def _to_refusal(error: Exception, call: GrpcCall) -> Refusal:
    if isinstance(error, Refusal):
        return error
    said = to_frontend_error(error, call.id)
    if said.kind != _KEY_REFUSED:
        return Refusal.of(said)
    is_told = said.status == 401  # noqa: PLR2004 - the switch `auth_401`
    code = StatusCode.UNAUTHENTICATED if is_told else StatusCode.PERMISSION_DENIED
    return Refusal(code, said.message)


def _end(frontend: Frontend, call: GrpcCall, code: StatusCode) -> None:
    """Count a call, and tell of it."""
    requests = frontend.service.requests
    requests.num_in_hand -= 1
    seconds = time.perf_counter() - call.started
    requests.observe("POST", f"/{call.path}", _STATUSES.get(code, 500), seconds)
    called = Called(client=call.client, path=call.path, code=to_number(code), seconds=seconds)
    for listen in frontend.on_called:
        listen(called)
