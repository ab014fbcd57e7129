"""The service of the inference port: Ping, and predictions: whole, in parts, and of sequences."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Final

import grpc

from torchloom.errors import TorchLoomError
from torchloom_api.grpc.proto import torchserve_inference_pb2 as messages
from torchloom_api.torchserve.answer import to_json
from torchloom_api.torchserve.endpoint import unknown_endpoint
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, bad_request, internal
from torchloom_api.torchserve.grpc.grpc_call import GrpcCall
from torchloom_api.torchserve.grpc.merging import merge
from torchloom_api.torchserve.grpc.method import Method, to_handler
from torchloom_api.torchserve.grpc.refusal import Refusal
from torchloom_api.torchserve.handler_answer import to_answer, to_part
from torchloom_api.torchserve.prediction import (
    Call,
    Prediction,
    Told,
    require_ticket,
    say,
)
from torchloom_api.torchserve.pulled_prediction import PulledPrediction
from torchloom_api.torchserve.request_id import new_uuid


DESCRIPTOR: Final = messages.DESCRIPTOR.services_by_name["InferenceAPIsService"]

#: How many requests of one stream are worked on at once; more are not read until some are done.
_MAX_AT_ONCE: Final = 256


class Inference:
    """The methods, over one Frontend."""

    def __init__(self, frontend: Frontend) -> None:
        self._frontend = frontend

    def handler(self) -> grpc.ServiceRpcHandler:
        """Give what a gRPC server calls."""
        is_open = self._frontend.settings.ping_without_token
        methods = {
            "Ping": Method(answer=self.ping, scope=None if is_open else "inference"),
            "Predictions": Method(answer=self.predict, scope="inference"),
            "StreamPredictions": Method(stream=self.stream, scope="inference"),
            "StreamPredictions2": Method(stream=self.stream_sequences, scope="inference"),
        }
        return to_handler(self._frontend, DESCRIPTOR, methods)

    async def ping(self, _request: object, _call: GrpcCall) -> messages.TorchServeHealthResponse:
        """Say whether every model has its workers, in the words of HTTP."""
        status = "Healthy" if self._frontend.is_healthy() else "Unhealthy"
        health = to_json({"status": status}).decode().removesuffix("\n")
        return messages.TorchServeHealthResponse(health=health)

    async def predict(
        self, request: messages.PredictionsRequest, call: GrpcCall
    ) -> messages.PredictionResponse:
        """Answer at once all that a handler gives, its parts as well. Raises Refusal."""
        body = bytearray()
        async with aclosing(self._predict(request, call.id)) as parts:
            async for part in parts:
                body += part
                if len(body) > self._frontend.settings.max_response_size:
                    raise Refusal.of_prediction(internal("Worker died."))
        return messages.PredictionResponse(prediction=bytes(body))

    async def stream(
        self, request: messages.PredictionsRequest, call: GrpcCall
    ) -> AsyncGenerator[messages.PredictionResponse, None]:
        """Answer each part as it comes. Raises Refusal."""
        async with aclosing(self._predict(request, call.id)) as parts:
            async for part in parts:
                yield messages.PredictionResponse(prediction=part)

    async def stream_sequences(
        self, requests: AsyncIterator[messages.PredictionsRequest], _call: GrpcCall
    ) -> AsyncGenerator[messages.PredictionResponse, None]:
        """Answer requests side by side, those of a sequence in order; what fails is told in place.

        A client that sends no more still gets what it has asked for.
        """
        merged = merge(requests, self._answer_in_place, most=_MAX_AT_ONCE)
        async with aclosing(merged) as parts:
            async for part in parts:
                yield part

    async def _answer_in_place(
        self, request: messages.PredictionsRequest
    ) -> AsyncGenerator[messages.PredictionResponse, None]:
        own = request.sequence_id
        try:
            if not own:
                raise Refusal.of_prediction(bad_request("Parameter sequenceId is required."))
            async with aclosing(self._predict(request, new_uuid())) as parts:
                async for part in parts:
                    yield messages.PredictionResponse(prediction=part, sequence_id=own)
        except Refusal as refusal:
            said = refusal.to_part()
            if own:
                said.sequence_id = own
            yield said

    async def _predict(
        self, request: messages.PredictionsRequest, request_id: str
    ) -> AsyncGenerator[bytes, None]:
        """Ask a model; give each part of its answer. Raises Refusal."""
        frontend = self._frontend
        call = Call(model=request.model_name, version=request.model_version or None)
        try:
            if not call.model:
                raise bad_request("Parameter model_name is required.")
            served = frontend.catalog.find(call.model, call.version)
            with Told(frontend, served, call, request_id) as outcome:
                if served.language is not None:
                    raise unknown_endpoint(None)  # no message has a path
                require_ticket(frontend, served, call)
                params = self._params(request, request_id)
                prediction = PulledPrediction(
                    Prediction(frontend, served, dict(request.input), params, outcome.meter)
                )
                try:
                    async for chunk in prediction.chunks():
                        yield self._read(to_part(chunk))
                    yield self._read(await prediction.outputs())
                except TorchLoomError as error:
                    raise say(error, call, frontend, request_id) from error
                finally:
                    prediction.cancel()
                outcome.status = 200
        except FrontendError as error:
            raise Refusal.of_prediction(error) from error

    def _read(self, outputs: Mapping[str, object]) -> bytes:
        return to_answer(outputs, self._frontend.settings.max_response_size).body

    def _params(self, request: messages.PredictionsRequest, request_id: str) -> dict[str, object]:
        """Tell a handler of a request: no headers but the sequence's, as in TorchServe."""
        params: dict[str, object] = {"request_id": request_id, "is_explain": None, "url_path": None}
        if request.sequence_id:
            name = self._frontend.settings.sequence_headers.id
            params["headers"] = {name: request.sequence_id}
            params["sequence_id"] = request.sequence_id
        return params
