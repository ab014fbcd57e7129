"""Problem documents (RFC 9457): how every error of the API looks to a client. Knows no route."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Final

import msgspec

from torchloom.errors import Fault, TorchLoomError


if TYPE_CHECKING:
    from litestar.exceptions import HTTPException

_log = logging.getLogger(__name__)

#: Statuses that always say when to come back, and the seconds where nothing better is known.
_RETRY_AFTER_S = {429: 1.0, 503: 1.0}

#: The media type of problem documents.
PROBLEM: Final = b"application/problem+json"


class BadRequest(TorchLoomError):
    """The request cannot be read: its body, a header or a query parameter."""

    status = 400
    title = "The request cannot be read"


class NotAcceptable(TorchLoomError):
    """The answer has no form that the client accepts."""

    status = 406
    title = "The answer has no such form"


class RequestTooLarge(TorchLoomError):
    """The body is larger than the server takes."""

    status = 413
    title = "The body is too large"


class UnsupportedMedia(TorchLoomError):
    """The body is of a type that the route does not read."""

    status = 415
    title = "The body has a type that is not read here"


class ElsewhereServed(TorchLoomError):
    """The route exists, but this listener does not serve it."""

    status = 404
    title = "Not on this listener"


class ProblemFault(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One thing wrong in the client's document: what, and where."""

    message: str
    pointer: str | None = None
    file: str | None = None
    line: int | None = None
    column: int | None = None

    @classmethod
    def from_fault(cls, fault: Fault) -> ProblemFault:
        """Show a fault of the core."""
        return cls(
            message=fault.message,
            pointer=fault.pointer,
            file=fault.file,
            line=fault.line,
            column=fault.column,
        )


class Problem(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A problem document. `retry_after_s` is exact; the header rounds it up to whole seconds."""

    type: str
    title: str
    status: int
    detail: str
    instance: str | None = None
    retry_after_s: float | None = None
    errors: Sequence[ProblemFault] = ()

    @classmethod
    def from_error(cls, error: Exception, *, instance: str | None, request_id: str) -> Problem:
        """Show any error: ours as it says, Litestar's by its status, others as 500 without details.

        What is not ours is logged with its trace, under the request's id.
        """
        if isinstance(error, TorchLoomError):
            return _from_ours(error, instance)
        from litestar.exceptions import HTTPException  # noqa: PLC0415 - the whole framework: late

        if (
            isinstance(error, HTTPException)
            and error.status_code < HTTPStatus.INTERNAL_SERVER_ERROR
        ):
            return _from_litestar(error, instance)
        _log.error("request %s to %s failed", request_id, instance, exc_info=error)
        return cls(
            type="urn:torchloom:internal-error",
            title="Something went wrong in the server",
            status=HTTPStatus.INTERNAL_SERVER_ERROR,
            detail=f"This is a fault of the server. Its log tells more under id {request_id}.",
            instance=instance,
        )

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """Give the headers that belong to the status."""
        if self.status == HTTPStatus.UNAUTHORIZED:
            return [(b"www-authenticate", b"Bearer")]
        if self.retry_after_s is None:
            return []
        return [(b"retry-after", str(max(1, math.ceil(self.retry_after_s))).encode())]

    def encode(self) -> bytes:
        """Write it as JSON."""
        return msgspec.json.encode(self)


def _from_ours(error: TorchLoomError, instance: str | None) -> Problem:
    after_s = error.retry_after_s
    return Problem(
        type=error.type,
        title=error.title,
        status=error.status,
        detail=error.message,
        instance=instance,
        retry_after_s=_RETRY_AFTER_S.get(error.status) if after_s is None else after_s,
        errors=tuple(ProblemFault.from_fault(fault) for fault in error.faults),
    )


def _from_litestar(error: HTTPException, instance: str | None) -> Problem:
    extra = error.extra if isinstance(error.extra, list) else []
    faults = tuple(_from_extra(item) for item in extra if isinstance(item, dict))
    return Problem(
        type=f"urn:torchloom:http-{error.status_code}",
        title=HTTPStatus(error.status_code).phrase,
        status=error.status_code,
        detail=error.detail,
        instance=instance,
        retry_after_s=_RETRY_AFTER_S.get(error.status_code),
        errors=faults,
    )


def _from_extra(item: dict[str, object]) -> ProblemFault:
    source, key = item.get("source"), item.get("key")
    place = f"{source} parameter {key!r}: " if source and key else ""
    return ProblemFault(message=f"{place}{item.get('message', '')}")
