"""Handlers: functions become the methods of a service. Know no service: its descriptor says all."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from typing import Final

import grpc
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass


#: Answers a call, given the request (or what gives requests) and its context: once, or in parts.
#: Messages are of the method's own types.
Behaviour = Callable[[object, grpc.aio.ServicerContext], Awaitable[object] | AsyncIterator[object]]

#: What makes a method, by whether requests and answers are streams.
_MAKERS: Final = {
    (False, False): grpc.unary_unary_rpc_method_handler,
    (False, True): grpc.unary_stream_rpc_method_handler,
    (True, True): grpc.stream_stream_rpc_method_handler,
}


def to_handler(
    descriptor: ServiceDescriptor, behaviours: Mapping[str, Behaviour], *, name: str | None = None
) -> grpc.ServiceRpcHandler:
    """Make what a gRPC server calls; methods of the descriptor that are missing stay unknown.

    `name`: under which clients ask for the service, if not under the descriptor's.
    """
    methods = {
        each.name: _to_method(each, behaviours[each.name])
        for each in descriptor.methods
        if each.name in behaviours
    }
    return grpc.method_handlers_generic_handler(name or descriptor.full_name, methods)


def _to_method(descriptor: MethodDescriptor, behaviour: Behaviour) -> grpc.RpcMethodHandler:
    return _MAKERS[descriptor.client_streaming, descriptor.server_streaming](
        behaviour,
        request_deserializer=GetMessageClass(descriptor.input_type).FromString,
        response_serializer=GetMessageClass(descriptor.output_type).SerializeToString,
    )
