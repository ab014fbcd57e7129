"""The service of the Open Inference Protocol: `inference.GRPCInferenceService`."""

from __future__ import annotations

from typing import Final

import grpc

from torchloom_api.grpc.caller import Caller
from torchloom_api.grpc.method_table import INFERENCE, OPEN, READING, Method, to_handler
from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.grpc.tensor_message import to_call, to_response
from torchloom_api.kserve.call import infer
from torchloom_api.kserve.interface import TensorSpec
from torchloom_api.kserve.metadata import (
    describe_model,
    describe_server,
    is_model_ready,
    is_server_ready,
)
from torchloom_api.service import Service


DESCRIPTOR: Final = messages.DESCRIPTOR.services_by_name["GRPCInferenceService"]


class OpenInference:
    """The methods, over one Service."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def handler(self) -> grpc.ServiceRpcHandler:
        """Give what a gRPC server calls."""
        methods = {
            "ServerLive": Method(self.is_live, OPEN),
            "ServerReady": Method(self.is_ready, OPEN),
            "ServerMetadata": Method(self.describe_server, OPEN),
            "ModelReady": Method(self.is_model_ready, READING),
            "ModelMetadata": Method(self.describe_model, READING),
            "ModelInfer": Method(self.infer, INFERENCE),
        }
        return to_handler(self._service, DESCRIPTOR, methods)

    async def is_live(
        self, _request: messages.ServerLiveRequest, _caller: Caller
    ) -> messages.ServerLiveResponse:
        """Tell that the process answers."""
        return messages.ServerLiveResponse(live=True)

    async def is_ready(
        self, _request: messages.ServerReadyRequest, _caller: Caller
    ) -> messages.ServerReadyResponse:
        """Tell whether work should be sent here."""
        return messages.ServerReadyResponse(ready=is_server_ready(self._service))

    async def describe_server(
        self, _request: messages.ServerMetadataRequest, _caller: Caller
    ) -> messages.ServerMetadataResponse:
        """Tell what this server is."""
        server = describe_server()
        return messages.ServerMetadataResponse(
            name=server.name, version=server.version, extensions=server.extensions
        )

    async def is_model_ready(
        self, request: messages.ModelReadyRequest, _caller: Caller
    ) -> messages.ModelReadyResponse:
        """Tell whether a model answers. Raises UnknownModel."""
        is_ready = is_model_ready(self._service, request.name, request.version)
        return messages.ModelReadyResponse(ready=is_ready)

    async def describe_model(
        self, request: messages.ModelMetadataRequest, _caller: Caller
    ) -> messages.ModelMetadataResponse:
        """Tell a model's tensors. Raises UnknownModel."""
        model = describe_model(self._service, request.name, request.version)
        return messages.ModelMetadataResponse(
            name=model.name,
            versions=model.versions,
            platform=model.platform,
            inputs=[to_metadata(spec) for spec in model.inputs],
            outputs=[to_metadata(spec) for spec in model.outputs],
        )

    async def infer(
        self, request: messages.ModelInferRequest, caller: Caller
    ) -> messages.ModelInferResponse:
        """Ask a model. Raises what the model, or the check of its inputs, raises."""
        self._service.require_started()
        options = caller.to_options(self._service.settings)
        answer = await infer(self._service, to_call(request), options)
        return to_response(answer, is_raw=bool(request.raw_input_contents))


def to_metadata(spec: TensorSpec) -> messages.ModelMetadataResponse.TensorMetadata:
    """Write what is known of one tensor."""
    return messages.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=spec.datatype, shape=spec.shape
    )
