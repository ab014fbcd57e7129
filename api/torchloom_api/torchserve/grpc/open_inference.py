"""The Open Inference Protocol under TorchServe's name: its messages, its models, its versions."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

import grpc
from google.protobuf.descriptor_pb2 import FileDescriptorProto

from torchloom.errors import TorchLoomError
from torchloom.run_options import RunOptions
from torchloom_api.grpc.open_inference import DESCRIPTOR, to_metadata
from torchloom_api.grpc.pool import POOL
from torchloom_api.grpc.proto import open_inference_pb2 as messages
from torchloom_api.grpc.tensor_message import to_call, to_response
from torchloom_api.kserve.call import infer
from torchloom_api.kserve.metadata import describe_model
from torchloom_api.torchserve.administration import has_workers
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, bad_request
from torchloom_api.torchserve.grpc.grpc_call import GrpcCall
from torchloom_api.torchserve.grpc.method import Method, to_handler
from torchloom_api.torchserve.grpc.refusal import UNAVAILABLE, Refusal
from torchloom_api.torchserve.prediction import Call, Told, require_ticket, say


#: The messages are those of the protocol; only the service has another name.
NAME: Final = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"


def _publish() -> None:
    """Let reflection tell of the service by this name too; its messages are the protocol's."""
    package, _, own = NAME.rpartition(".")
    file = FileDescriptorProto(
        name="torchserve_open_inference.proto",
        package=package,
        syntax="proto3",
        dependency=[DESCRIPTOR.file.name],
    )
    DESCRIPTOR.CopyToProto(file.service.add(name=own))
    POOL.AddSerializedFile(file.SerializeToString())


_publish()


class OpenInference:
    """The methods, over one Frontend. `ServerMetadata` is not there, as in TorchServe."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    def handler(self) -> grpc.ServiceRpcHandler:
        """Give what a gRPC server calls."""
        methods = {
            "ServerLive": Method(answer=self.is_live, scope="inference"),
            "ServerReady": Method(answer=self.is_ready, scope="inference"),
            "ModelReady": Method(answer=self.is_model_ready, scope="inference"),
            "ModelMetadata": Method(answer=self.describe_model, scope="inference"),
            "ModelInfer": Method(answer=self.infer, scope="inference"),
        }
        return to_handler(self._frontend, DESCRIPTOR, methods, name=NAME)

    async def is_live(
        self, _request: messages.ServerLiveRequest, _call: GrpcCall
    ) -> messages.ServerLiveResponse:
        """Tell that the process answers."""
        return messages.ServerLiveResponse(live=True)

    async def is_ready(
        self, _request: messages.ServerReadyRequest, _call: GrpcCall
    ) -> messages.ServerReadyResponse:
        """Tell whether every model has its workers."""
        return messages.ServerReadyResponse(ready=self._frontend.is_healthy())

    async def is_model_ready(
        self, request: messages.ModelReadyRequest, _call: GrpcCall
    ) -> messages.ModelReadyResponse:
        """Tell whether a model has a worker. Raises FrontendError."""
        served = self._find(request.name, request.version)
        return messages.ModelReadyResponse(ready=has_workers(self._frontend, served, 1))

    async def describe_model(
        self, request: messages.ModelMetadataRequest, _call: GrpcCall
    ) -> messages.ModelMetadataResponse:
        """Tell a model's versions, and its tensors where they are known. Raises FrontendError."""
        served = self._find(request.name, request.version)
        model = describe_model(self._frontend.service, served.name, str(served.number))
        return messages.ModelMetadataResponse(
            name=served.name,
            versions=[each.version for each in self._frontend.catalog.versions(served.name)],
            platform=model.platform,
            inputs=[to_metadata(spec) for spec in model.inputs],
            outputs=[to_metadata(spec) for spec in model.outputs],
        )

    async def infer(
        self, request: messages.ModelInferRequest, call: GrpcCall
    ) -> messages.ModelInferResponse:
        """Hand tensors to a handler as a document of v2, and read its answer.

        Raises Refusal, FrontendError, and what reading either raises.
        """
        try:
            served = self._find(request.model_name, request.model_version)
        except FrontendError as error:
            raise Refusal.of_prediction(error) from error
        try:
            return await self._infer(served, request, call)
        except FrontendError as error:
            if error.kind != UNAVAILABLE:
                raise
            raise Refusal.of_prediction(error) from error

    async def _infer(
        self, served: Served, request: messages.ModelInferRequest, call: GrpcCall
    ) -> messages.ModelInferResponse:
        frontend = self._frontend
        asked = to_call(request)
        call_of = Call(model=served.name, version=request.model_version or None)
        asked = replace(asked, version=str(served.number), id=asked.id or call.id)
        options = RunOptions(timeout_s=served.limits.client_timeout_ms / 1000 or None)
        with Told(frontend, served, call_of, call.id) as outcome:
            require_ticket(frontend, served, call_of)
            try:
                answer = await infer(frontend.service, asked, options, meter=outcome.meter)
            except TorchLoomError as error:
                raise say(error, call_of, frontend, call.id) from error
            outcome.status = 200
        answer = replace(answer, version=served.version)
        return to_response(answer, is_raw=bool(request.raw_input_contents))

    def _find(self, name: str, version: str) -> Served:
        if not name:
            raise bad_request("Parameter model_name is required.")
        return self._frontend.catalog.find(name, version or None)
