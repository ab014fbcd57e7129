"""Statuses of HTTP as codes of gRPC."""

from __future__ import annotations

import pytest
from grpc import StatusCode

from torchloom_api.grpc.status import to_code


@pytest.mark.parametrize(
    ("status", "code"),
    [
        (400, StatusCode.INVALID_ARGUMENT),
        (401, StatusCode.UNAUTHENTICATED),
        (404, StatusCode.NOT_FOUND),
        (418, StatusCode.FAILED_PRECONDITION),
        (422, StatusCode.INVALID_ARGUMENT),
        (500, StatusCode.INTERNAL),
        (503, StatusCode.UNAVAILABLE),
        (504, StatusCode.DEADLINE_EXCEEDED),
        (599, StatusCode.INTERNAL),
    ],
)
def test_maps_statuses(status: int, code: StatusCode) -> None:
    """Those without a code of their own by whose fault it is."""
    assert to_code(status) is code
