"""Refusal: an error as TorchServe tells it over gRPC: a code, and a text that ends in a class.

The classes are Java's, as clients have come to know them. Knows no method.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, Self, cast

from grpc import StatusCode

from torchloom_api.grpc.proto import rpc_status_pb2, torchserve_inference_pb2
from torchloom_api.grpc.status import to_code
from torchloom_api.torchserve.frontend_error import FrontendError


_HTTP: Final = "org.pytorch.serve.http"
_MODEL: Final = "org.pytorch.serve.archive.model"

#: Where the class of an error stands, if not among those of HTTP.
_PACKAGES: Final[Mapping[str, str]] = {
    "DownloadArchiveException": "org.pytorch.serve.archive",
    "ModelNotFoundException": _MODEL,
    "ModelVersionNotFoundException": _MODEL,
    "InvalidModelException": _MODEL,
    "InvalidModelVersionException": _MODEL,
    "ModelException": _MODEL,
}

#: Statuses for which TorchServe has another code than the rest of this server; of 408, it has none.
_CODES: Final[Mapping[int, StatusCode]] = {
    408: StatusCode.DEADLINE_EXCEEDED,
    422: StatusCode.FAILED_PRECONDITION,
    507: StatusCode.INTERNAL,
}

#: The kind of what nobody takes now.
UNAVAILABLE: Final = "ServiceUnavailableException"


class Refusal(Exception):
    """Why there is no answer. `reason` is a class, or empty where none is told."""

    def __init__(self, code: StatusCode, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.reason = reason

    @classmethod
    def of(cls, error: FrontendError) -> Self:
        """Give an error the code of its status, and its class."""
        return cls(_to_code(error), error.message, _class_of(error.kind))

    @classmethod
    def of_prediction(cls, error: FrontendError) -> Self:
        """Say why there is no prediction.

        Where none could begin, TorchServe has the code INTERNAL for whatever it is.
        """
        if error.kind == UNAVAILABLE and error.status == 503:  # noqa: PLR2004 - as over HTTP
            return cls(StatusCode.INTERNAL, error.message, "InternalServerException.()")
        if error.kind == "BadRequestException":
            return cls(StatusCode.INTERNAL, error.message, "BadRequestException.()")
        if error.kind in _PACKAGES:
            return cls(StatusCode.INTERNAL, error.message, _class_of(error.kind))
        return cls.of(error)

    @property
    def details(self) -> str:
        """Give the text of the status."""
        return f"{self.message}\n{self.reason}" if self.reason else self.message

    @property
    def number(self) -> int:
        """Give the number of the code."""
        return to_number(self.code)

    def to_part(self) -> torchserve_inference_pb2.PredictionResponse:
        """Give it as one answer of a stream that goes on."""
        part = torchserve_inference_pb2.PredictionResponse()
        part.status.code = self.number
        part.status.message = self.message
        part.status.details.add().Pack(rpc_status_pb2.ErrorInfo(reason=self.reason))
        return part


def to_number(code: StatusCode) -> int:
    """Give the number of a code."""
    return cast("int", code.value[0])


def _to_code(error: FrontendError) -> StatusCode:
    return _CODES.get(error.status) or to_code(error.status)


def _class_of(kind: str) -> str:
    return f"{_PACKAGES.get(kind, _HTTP)}.{kind}"
