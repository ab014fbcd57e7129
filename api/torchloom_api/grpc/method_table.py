"""Method tables: coroutines become the methods of a service; whatever they raise, a status.

Knows no service: names and types come from its descriptor.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Final

import grpc
from google.protobuf.descriptor import ServiceDescriptor

from torchloom.errors import QueueFull
from torchloom_api.errors import Problem
from torchloom_api.exchange import GONE
from torchloom_api.grpc import handler
from torchloom_api.grpc.caller import Caller
from torchloom_api.grpc.status import to_code
from torchloom_api.service import Service


#: What answers a call. Messages are of the method's own types.
Answer = Callable[..., Awaitable[object]]

#: Scopes of keys: one of them is needed; none is for everybody.
INFERENCE: Final = frozenset({"inference"})
READING: Final = frozenset({"inference", "management"})
OPEN: Final[frozenset[str]] = frozenset()


@dataclass(frozen=True, slots=True)
class Method:
    """What answers a method, given the request and its caller, and which scopes it takes."""

    answer: Answer
    scopes: frozenset[str]


def to_handler(
    service: Service, descriptor: ServiceDescriptor, methods: Mapping[str, Method]
) -> grpc.ServiceRpcHandler:
    """Make what a gRPC server calls; methods of the descriptor that are missing stay unknown."""
    behaviours = {
        name: _to_behaviour(service, f"/{descriptor.full_name}/{name}", method)
        for name, method in methods.items()
    }
    return handler.to_handler(descriptor, behaviours)


def _to_behaviour(service: Service, route: str, method: Method) -> handler.Behaviour:
    async def call(request: object, context: grpc.aio.ServicerContext) -> object:
        return await _answer(service, route, method, request, context)

    return call


async def _answer(
    service: Service,
    route: str,
    method: Method,
    request: object,
    context: grpc.aio.ServicerContext,
) -> object:
    """Answer one call: whatever happens, by a message or a status."""
    started = time.perf_counter()
    caller = Caller.of(context)
    requests = service.requests
    requests.num_in_hand += 1
    status = 200
    try:
        _admit(service, method, caller)
        return await method.answer(request, caller)
    except asyncio.CancelledError:
        status = GONE
        raise
    except Exception as error:  # noqa: BLE001 - the one place where any error becomes a status
        problem = Problem.from_error(error, instance=route, request_id=caller.id)
        status = problem.status
    finally:
        requests.num_in_hand -= 1
        requests.observe("POST", route, status, time.perf_counter() - started)
    after = [(name.decode(), value.decode()) for name, value in problem.headers]
    trailing = (("x-request-id", caller.id), *after)
    await context.abort(to_code(problem.status), problem.detail, trailing)
    return None  # abort raises


def _admit(service: Service, method: Method, caller: Caller) -> None:
    """Refuse a caller without a key, and work that is too much."""
    if not method.scopes:
        return
    service.keys.require(caller.headers, method.scopes)
    if service.requests.num_in_hand > service.settings.max_requests:
        message = f"The server has {service.settings.max_requests} requests in hand."
        raise QueueFull(f"{message} Try again later.", retry_after_s=1.0)
