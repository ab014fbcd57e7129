"""Errors in KServe's shape: `{"error": "what is wrong"}`. Knows no route."""

from __future__ import annotations

from http import HTTPStatus

import msgspec

from torchloom_api.errors import Problem


class ErrorAnswer(msgspec.Struct, frozen=True):
    """The body of every answer that is an error."""

    error: str


def is_kserve(path: str) -> bool:
    """Tell whether a path belongs to KServe's protocols."""
    if path == "/v2" or path.startswith("/v2/"):
        return True
    return path.startswith("/v1/models/") and path.rstrip("/").endswith((":predict", ":explain"))


def to_status(problem: Problem) -> int:
    """Give the status of an error: what is wrong with a request is always 400 here."""
    is_invalid = problem.status == HTTPStatus.UNPROCESSABLE_ENTITY
    return HTTPStatus.BAD_REQUEST if is_invalid else problem.status


def to_answer(problem: Problem) -> ErrorAnswer:
    """Show an error, which its problem document describes already."""
    return ErrorAnswer(problem.detail)
