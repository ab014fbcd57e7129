"""The calls over gRPC whose answers of TorchServe and TorchLoom are compared, and their making.

Messages are given as keyword arguments. Of a stream of requests each is sent when the one before is
answered; nobody waits longer than `_PATIENCE_S`.
"""

from __future__ import annotations

import json
import queue
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import grpc
from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from benchmarks.torchserve_side import Side
from torchloom_api.grpc.proto import (
    open_inference_pb2,
    torchserve_inference_pb2,
    torchserve_management_pb2,
)


_PATIENCE_S: Final = 20.0

_OPEN: Final = "org.pytorch.serve.grpc.openinference.GRPCInferenceService"

#: Service → its module, its name on the wire, and which of the two ports has it.
_SERVICES: Final[Mapping[str, tuple[Any, str, int]]] = {
    "InferenceAPIsService": (torchserve_inference_pb2, "", 0),
    "ManagementAPIsService": (torchserve_management_pb2, "", 1),
    "GRPCInferenceService": (open_inference_pb2, _OPEN, 0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """One call. `messages` are several where the method takes a stream."""

    service: str
    method: str
    messages: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    token: str = ""

    @property
    def name(self) -> str:
        """Tell the call in one line."""
        told = " ".join(json.dumps(each, default=repr) for each in self.messages)
        token = f" token={self.token}" if self.token else ""
        return f"gRPC {self.method} {told}{token}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a caller sees: the code's number and name, and each answer as text."""

    number: int
    code: str
    text: str


def make_call(side: Side, call: Call) -> Told:
    """Make a call over a connection of its own."""
    module, wire_name, place = _SERVICES[call.service]
    service = module.DESCRIPTOR.services_by_name[call.service]
    method = service.methods_by_name[call.method]
    messages = [_to_message(method.input_type, each) for each in call.messages or ({},)]
    metadata = []
    if call.token:
        keys = json.loads((side.folder / "key_file.json").read_text("utf-8"))
        metadata.append(("authorization", f"Bearer {keys[call.token]['key']}"))
    with grpc.insecure_channel(side.grpc_addresses[place]) as channel:
        kinds = {(False, False): "unary_unary", (False, True): "unary_stream"}
        kind = kinds.get((method.client_streaming, method.server_streaming), "stream_stream")
        ask = getattr(channel, kind)(
            f"/{wire_name or service.full_name}/{call.method}",
            request_serializer=lambda message: message.SerializeToString(),
            response_deserializer=GetMessageClass(method.output_type).FromString,
        )
        parts: list[str] = []
        try:
            parts.extend(_answers(ask, kind, messages, metadata))
        except grpc.RpcError as error:
            code = error.code()  # type: ignore[attr-defined]  # errors of calls have it
            details = str(error.details())  # type: ignore[attr-defined]  # the same
            return Told(number=code.value[0], code=code.name, text="\n".join([*parts, details]))
    return Told(number=0, code="OK", text="\n".join(parts))


def _to_message(kind: Any, fields: Mapping[str, Any]) -> Message:
    is_empty = kind.full_name == Empty.DESCRIPTOR.full_name
    return Empty() if is_empty else GetMessageClass(kind)(**fields)


def _answers(
    ask: Any, kind: str, messages: Sequence[Message], metadata: Sequence[tuple[str, str]]
) -> Iterator[str]:
    timed = {"timeout": _PATIENCE_S, "metadata": metadata}
    if kind == "unary_unary":
        yield str(ask(messages[0], **timed))
    elif kind == "unary_stream":
        yield from map(str, ask(messages[0], **timed))
    else:
        said: queue.SimpleQueue[Message | None] = queue.SimpleQueue()
        stream = ask(iter(said.get, None), **timed)
        try:
            for message in messages:
                said.put(message)
                yield str(next(stream))
        finally:
            stream.cancel()
            said.put(None)


def _ask(method: str, model: str, version: str = "", **fields: bytes) -> Call:
    message = {"model_name": model, "model_version": version, "input": fields}
    return Call(service="InferenceAPIsService", method=method, messages=[message])


def _manage(method: str, **fields: object) -> Call:
    return Call(service="ManagementAPIsService", method=method, messages=[fields])


def _sequence(*said: tuple[str, str, bytes]) -> Call:
    """Ask models (name, sequence, number) in one stream."""
    messages = [
        {"model_name": model, "input": {"body": number}, "sequence_id": own or None}
        for model, own, number in said
    ]
    return Call(service="InferenceAPIsService", method="StreamPredictions2", messages=messages)


def _infer(model: str, asked: str, *, version: str = "", own: str = "mine") -> Call:
    tensor = {
        "name": asked,
        "datatype": "FP32",
        "shape": [1],
        "contents": {"fp32_contents": [1.5]},
    }
    message = {"model_name": model, "model_version": version, "id": own, "inputs": [tensor]}
    return Call(service="GRPCInferenceService", method="ModelInfer", messages=[message])


def _open(method: str, **fields: object) -> Call:
    return Call(service="GRPCInferenceService", method=method, messages=[fields])


#: Inference. What TorchServe does not answer at all, or kills its worker for, is not asked.
INFERENCE: Final = (
    Call(service="InferenceAPIsService", method="Ping"),
    _ask("Predictions", "probe", body=b"x"),
    _ask("Predictions", "probe", "1.0", a=b"1", b=b"2"),
    _ask("Predictions", "probe"),
    _ask("Predictions", "probe", "9.9", body=b"x"),
    _ask("Predictions", "none", body=b"x"),
    _ask("Predictions", "", body=b"x"),
    _ask("Predictions", "idle", body=b"x"),
    _ask("Predictions", "raising", body=b"x"),
    _ask("Predictions", "refusing", body=b"404"),
    _ask("Predictions", "refusing", body=b"507"),
    _ask("Predictions", "coroutine", body=b"hi"),
    _ask("Predictions", "coroutine", body=b"teapot"),
    _ask("StreamPredictions", "streaming", body=b"x"),
    _ask("StreamPredictions", "coroutine", body=b"parts"),
    _ask("StreamPredictions", "none", body=b"x"),
    _ask("StreamPredictions", "probe", "9.9", body=b"x"),
    _ask("StreamPredictions", "", body=b"x"),
    _ask("StreamPredictions", "idle", body=b"x"),
    _ask("StreamPredictions", "raising", body=b"x"),
    _sequence(("sums", "", b"1")),
    _sequence(("sums", "s", b"1"), ("sums", "s", b"2"), ("sums", "t", b"5")),
    _sequence(("none", "s", b"1")),
    _sequence(("idle", "s", b"1")),
    _sequence(("", "s", b"1")),
)

MANAGEMENT: Final = (
    _manage("ListModels", limit=2),
    _manage("ListModels", limit=1, next_page_token=1),
    _manage("DescribeModel", model_name="probe"),
    _manage("DescribeModel", model_name="probe", model_version="9.9"),
    _manage("DescribeModel", model_name="none"),
    _manage("DescribeModel", model_name="idle", customized=True),
    _manage("RegisterModel"),
    _manage("RegisterModel", url="gone.mar"),
    _manage("RegisterModel", url="noop.mar", initial_workers=1, synchronous=True),
    _manage("RegisterModel", url="noop.mar", initial_workers=0, model_name="two"),
    _manage("ScaleWorker", model_name="noop", min_worker=2, synchronous=True),
    _manage("ScaleWorker", model_name="noop", min_worker=2, max_worker=1),
    _manage("ScaleWorker", model_name="none", min_worker=1),
    _manage("SetDefault", model_name="noop", model_version="1.0"),
    _manage("SetDefault", model_name="noop", model_version="9.9"),
    _manage("SetDefault", model_name="none", model_version="1.0"),
    _manage("UnregisterModel", model_name="two"),
    _manage("UnregisterModel", model_name="noop", model_version="9.9"),
    _manage("UnregisterModel", model_name="noop"),
    _manage("UnregisterModel", model_name="noop"),
)

#: With `ts_open_inference_protocol` and the envelope of v2.
OPEN_INFERENCE: Final = (
    _open("ServerLive"),
    _open("ServerReady"),
    _open("ModelReady", name="kinds"),
    _open("ModelReady", name="kinds", version="9.9"),
    _open("ModelReady", name="none"),
    _open("ModelMetadata", name="kinds"),
    _open("ModelMetadata", name="none"),
    *(_infer("kinds", asked) for asked in ("float", "floats", "int", "nested", "bool", "text")),
    _infer("kinds", "float", version="1.0"),
    _infer("kinds", "float", version="9.9"),
    _infer("none", "float"),
    _infer("", "float"),
)

_GUARDED: Final = (
    Call(service="InferenceAPIsService", method="Ping"),
    _ask("Predictions", "probe", body=b"x"),
    _manage("ListModels", limit=2),
    _manage("RegisterModel", url="noop.mar"),
)

#: With tokens, and without the model API.
TOKENS: Final = (
    *_GUARDED,
    *(
        Call(service=each.service, method=each.method, messages=each.messages, token=token)
        for token in ("inference", "management")
        for each in _GUARDED
    ),
)
