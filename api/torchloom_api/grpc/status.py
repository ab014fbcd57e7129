"""Status codes of gRPC for the statuses of HTTP that errors have. Knows no service."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from grpc import StatusCode


_CODES: Final[Mapping[int, StatusCode]] = {
    400: StatusCode.INVALID_ARGUMENT,
    401: StatusCode.UNAUTHENTICATED,
    403: StatusCode.PERMISSION_DENIED,
    404: StatusCode.NOT_FOUND,
    409: StatusCode.ABORTED,
    413: StatusCode.RESOURCE_EXHAUSTED,
    416: StatusCode.OUT_OF_RANGE,
    422: StatusCode.INVALID_ARGUMENT,
    429: StatusCode.RESOURCE_EXHAUSTED,
    499: StatusCode.CANCELLED,
    501: StatusCode.UNIMPLEMENTED,
    503: StatusCode.UNAVAILABLE,
    504: StatusCode.DEADLINE_EXCEEDED,
    507: StatusCode.RESOURCE_EXHAUSTED,
}


def to_code(status: int) -> StatusCode:
    """Give the code of a status that is an error."""
    is_theirs = status < HTTPStatus.INTERNAL_SERVER_ERROR
    other = StatusCode.FAILED_PRECONDITION if is_theirs else StatusCode.INTERNAL
    return _CODES.get(status, other)
