"""A client of TorchServe's services over gRPC: their methods by name, their messages by type."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import cast

import grpc
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message_factory import GetMessageClass

from torchloom_api.grpc.proto import torchserve_inference_pb2 as inference
from torchloom_api.grpc.proto import torchserve_management_pb2 as management
from torchloom_api.torchserve.grpc.open_inference import NAME


ASKED = inference.DESCRIPTOR.services_by_name["InferenceAPIsService"]
MANAGED = management.DESCRIPTOR.services_by_name["ManagementAPIsService"]


class Client:
    """Calls of one service, over one channel. `token` goes with each."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        service: ServiceDescriptor,
        *,
        token: str | None = None,
        name: str = "",
    ) -> None:
        self._channel = channel
        self._service = service
        self._name = name or service.full_name
        self._metadata = (("authorization", f"Bearer {token}"),) if token else ()

    def call(self, method: str, request: object) -> grpc.aio.Call:
        """Begin a call: one to await, or a stream to read."""
        described = self._service.methods_by_name[method]
        kind = {(False, False): "unary_unary", (False, True): "unary_stream"}.get(
            (described.client_streaming, described.server_streaming), "stream_stream"
        )
        make = getattr(self._channel, kind)(
            f"/{self._name}/{method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(described.output_type).FromString,
        )
        return make(request, metadata=self._metadata, timeout=60)

    async def refusal(self, method: str, request: object) -> tuple[str, str]:
        """Give the code and the text by which a call is refused, or its stream ends."""
        try:
            call = self.call(method, request)
            if hasattr(call, "__aiter__"):
                async for _ in call:
                    pass
            else:
                await call
        except grpc.aio.AioRpcError as error:
            return error.code().name, error.details() or ""
        raise AssertionError(f"{method} was answered")


def ask(
    model: str = "noop", version: str = "", *, sequence: str | None = None, **fields: str | bytes
) -> inference.PredictionsRequest:
    """Make a request for a prediction."""
    given = {k: v.encode() if isinstance(v, str) else v for k, v in fields.items()}
    return inference.PredictionsRequest(
        model_name=model, model_version=version, input=given, sequence_id=sequence
    )


async def predictions(call: grpc.aio.Call) -> list[bytes]:
    """Read what a stream gives to its end."""
    parts = cast("AsyncIterator[inference.PredictionResponse]", call)
    return [part.prediction async for part in parts]


OPEN_INFERENCE = NAME
