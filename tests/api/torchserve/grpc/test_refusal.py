"""Errors as TorchServe tells them over gRPC."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    bad_request,
    internal,
    model_not_found,
    unavailable,
)
from torchloom_api.torchserve.grpc.refusal import Refusal


@pytest.mark.parametrize(
    ("error", "code", "details"),
    [
        (
            model_not_found("m"),
            "NOT_FOUND",
            "Model not found: m\norg.pytorch.serve.archive.model.ModelNotFoundException",
        ),
        (
            bad_request("no"),
            "INVALID_ARGUMENT",
            "no\norg.pytorch.serve.http.BadRequestException",
        ),
        (
            FrontendError(400, "DownloadArchiveException", "no"),
            "INVALID_ARGUMENT",
            "no\norg.pytorch.serve.archive.DownloadArchiveException",
        ),
        (
            FrontendError(403, "InvalidModelVersionException", "no"),
            "PERMISSION_DENIED",
            "no\norg.pytorch.serve.archive.model.InvalidModelVersionException",
        ),
        (
            internal("no", 507),
            "INTERNAL",
            "no\norg.pytorch.serve.http.InternalServerException",
        ),
        (
            unavailable("no"),
            "UNAVAILABLE",
            "no\norg.pytorch.serve.http.ServiceUnavailableException",
        ),
    ],
)
def test_has_the_code_of_the_status(error: FrontendError, code: str, details: str) -> None:
    """And the class at the end of its text."""
    refusal = Refusal.of(error)

    assert (refusal.code.name, refusal.details) == (code, details)


@pytest.mark.parametrize(
    ("error", "code", "reason"),
    [
        (
            model_not_found("m"),
            "INTERNAL",
            "org.pytorch.serve.archive.model.ModelNotFoundException",
        ),
        (bad_request("no"), "INTERNAL", "BadRequestException.()"),
        (unavailable("no"), "INTERNAL", "InternalServerException.()"),
        (internal("no", 503), "UNAVAILABLE", "org.pytorch.serve.http.InternalServerException"),
        (
            FrontendError(429, "ServiceUnavailableException", "full"),
            "RESOURCE_EXHAUSTED",
            "org.pytorch.serve.http.ServiceUnavailableException",
        ),
        (
            FrontendError(408, "RequestTimeoutException", "late"),
            "DEADLINE_EXCEEDED",
            "org.pytorch.serve.http.RequestTimeoutException",
        ),
    ],
)
def test_tells_why_there_is_no_prediction(error: FrontendError, code: str, reason: str) -> None:
    """What could not begin is INTERNAL, but for what TorchServe has no word for."""
    refusal = Refusal.of_prediction(error)

    assert (refusal.code.name, refusal.reason) == (code, reason)
    assert refusal.to_part().status.code == refusal.code.value[0]
