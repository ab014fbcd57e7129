"""The service of the management port: what its HTTP routes do, asked for by messages."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import grpc
from google.protobuf.message import Message
from grpc import StatusCode

from torchloom_api.grpc.proto import torchserve_management_pb2 as messages
from torchloom_api.torchserve.administration import (
    describe_customized_models,
    describe_models,
    list_models,
    register_model,
    scale_model,
    set_default,
    unregister_model,
)
from torchloom_api.torchserve.answer import to_json
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.grpc.grpc_call import GrpcCall
from torchloom_api.torchserve.grpc.method import Answer, Method, to_handler
from torchloom_api.torchserve.grpc.refusal import Refusal
from torchloom_api.torchserve.parameters import Parameters


DESCRIPTOR: Final = messages.DESCRIPTOR.services_by_name["ManagementAPIsService"]

_Response = messages.ManagementResponse


class Management:
    """The methods, over one Frontend."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    def handler(self) -> grpc.ServiceRpcHandler:
        """Give what a gRPC server calls."""
        answers: Mapping[str, Answer] = {
            "DescribeModel": self.describe,
            "ListModels": self.list,
            "RegisterModel": self.register,
            "ScaleWorker": self.scale,
            "SetDefault": self.set_default,
            "UnregisterModel": self.unregister,
        }
        methods = {name: Method(answer=a, scope="management") for name, a in answers.items()}
        return to_handler(self._frontend, DESCRIPTOR, methods)

    async def describe(self, request: messages.DescribeModelRequest, call: GrpcCall) -> _Response:
        """Describe a version, the default one, or all."""
        name, version = request.model_name, request.model_version or None
        if not request.customized:
            return _to_document(describe_models(self._frontend, name, version))
        told = await describe_customized_models(
            self._frontend, name, version, headers={}, request_id=call.id
        )
        return _to_document([each.document for each in told])

    async def list(self, request: messages.ListModelsRequest, _call: GrpcCall) -> _Response:
        """List the models; no limit is a hundred."""
        return _to_document(list_models(self._frontend, _said(request)))

    async def register(self, request: messages.RegisterModelRequest, _call: GrpcCall) -> _Response:
        """Register an archive; unless `synchronous` is said, nobody waits for it."""
        self._require_model_api()
        parameters = _said(request)
        flag = "true" if request.synchronous else "false"
        values = {**parameters.values, "synchronous": flag}
        said = await register_model(self._frontend, Parameters(values=values))
        return _Response(msg=said.text)

    async def scale(self, request: messages.ScaleWorkerRequest, _call: GrpcCall) -> _Response:
        """Change the number of workers."""
        version = request.model_version or None
        said = await scale_model(self._frontend, request.model_name, version, _said(request))
        return _Response(msg=said.text)

    async def set_default(self, request: messages.SetDefaultRequest, _call: GrpcCall) -> _Response:
        """Let requests that name no version go to one."""
        said = set_default(self._frontend, request.model_name, request.model_version)
        return _Response(msg=said.text)

    async def unregister(
        self, request: messages.UnregisterModelRequest, _call: GrpcCall
    ) -> _Response:
        """Remove a version, or the only one that there is."""
        self._require_model_api()
        version = request.model_version or None
        said = await unregister_model(self._frontend, request.model_name, version)
        return _Response(msg=said.text)

    def _require_model_api(self) -> None:
        if not self._frontend.settings.enable_model_api:
            kind = "org.pytorch.serve.archive.model.ModelException"
            raise Refusal(StatusCode.PERMISSION_DENIED, "Model API disabled", kind)


def _to_document(value: object) -> _Response:
    return _Response(msg=to_json(value).decode().removesuffix("\n"))


def _said(request: Message) -> Parameters:
    """Give what a message says: zeros and empty texts are what it does not say."""
    return Parameters(values={field.name: _to_text(value) for field, value in request.ListFields()})


def _to_text(value: object) -> str:
    return str(value).lower() if isinstance(value, bool) else str(value)
