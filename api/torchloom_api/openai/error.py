"""Errors in OpenAI's shape: `{"error": {message, type, param, code}}`. Knows no route."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from torchloom.errors import (
    InputTooLong,
    PartFailed,
    TorchLoomError,
    UnknownModel,
)
from torchloom_api.errors import Problem
from torchloom_api.key_ring import KeyRefused, ScopeMissing


class InvalidRequest(TorchLoomError):
    """A request that is wrong, or asks for what is not served: `param` names the field."""

    status = 400
    title = "The request is not valid"

    def __init__(self, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.param = param
        self.code = code


class ErrorDetail(msgspec.Struct, frozen=True, kw_only=True):
    """What went wrong. `param` names the field of the request, where one is to blame."""

    message: str
    type: str
    param: str | None = None
    code: str | None = None


class ErrorDocument(msgspec.Struct, frozen=True, kw_only=True):
    """The body of every answer that is an error."""

    error: ErrorDetail


def to_status(problem: Problem) -> int:
    """Give the status of an error: what is wrong with a request is always 400 here."""
    is_invalid = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.BAD_REQUEST if is_invalid else problem.status


def to_document(error: Exception, problem: Problem) -> ErrorDocument:
    """Show an error, which its problem document describes already."""
    is_ours = problem.status >= HTTPStatus.INTERNAL_SERVER_ERROR
    return ErrorDocument(
        error=ErrorDetail(
            message=problem.detail,
            type="server_error" if is_ours else "invalid_request_error",
            param=_to_param(error),
            code=_to_code(error, problem) if is_ours else _to_request_code(error),
        )
    )


def _to_param(error: Exception) -> str | None:
    if isinstance(error, InvalidRequest):
        return error.param
    if isinstance(error, UnknownModel):
        return "model"
    # What a node refuses is named as its model has it, not as the request does.
    if not isinstance(error, TorchLoomError) or isinstance(error, PartFailed):
        return None
    pointer = next((fault.pointer for fault in error.faults if fault.pointer), None)
    return pointer.split("/")[1] if pointer else None


def _to_request_code(error: Exception) -> str | None:
    if isinstance(error, InvalidRequest):
        return error.code
    if isinstance(error, KeyRefused):
        return "invalid_api_key"
    if isinstance(error, ScopeMissing):
        return "missing_scope"
    if _is_too_long(error):
        return "context_length_exceeded"
    return "model_not_found" if isinstance(error, UnknownModel) else None


def _is_too_long(error: Exception) -> bool:
    while isinstance(error, PartFailed):
        error = error.cause
    return isinstance(error, InputTooLong)


def _to_code(error: Exception, problem: Problem) -> str | None:
    """Name the error as native problems do: `queue_full`, `not_serving`, `task_failed`."""
    if not isinstance(error, TorchLoomError):
        return None
    return problem.type.rpartition(":")[2].replace("-", "_")
