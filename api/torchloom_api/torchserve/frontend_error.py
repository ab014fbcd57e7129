"""FrontendError: what TorchServe's server says in its own name, in its words. Knows no route.

What the core raises becomes one of them: whoever asks on TorchServe's routes sees no other shape.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Final

from torchloom.errors import (
    Conflict,
    DeadlineExceeded,
    HandlerFailed,
    InvalidInput,
    InvalidModel,
    OutOfMemory,
    QueueFull,
    TaskFailed,
    TorchLoomError,
    UnknownModel,
    WorkerDied,
)


_log = logging.getLogger(__name__)

Header = tuple[str, str]


class FrontendError(Exception):
    """An answer with `code`, `type` and `message`; `kind` is the type.

    `model`: the name and version of the one that was not registered, once its archive was read.
    """

    model: tuple[str, str] | None = None

    def __init__(
        self, status: int, kind: str, message: str, *, headers: Sequence[Header] = ()
    ) -> None:
        super().__init__(message)
        self.status = status
        self.kind = kind
        self.message = message
        self.headers = tuple(headers)


def bad_request(message: str) -> FrontendError:
    """Refuse what the client has sent."""
    return FrontendError(400, "BadRequestException", message)


def resource_not_found() -> FrontendError:
    """Refuse a path that is none."""
    message = "Requested resource is not found, please refer to API document."
    return FrontendError(404, "ResourceNotFoundException", message)


def method_not_allowed() -> FrontendError:
    """Refuse a method that the path has not."""
    message = "Requested method is not allowed, please refer to API document."
    return FrontendError(405, "MethodNotAllowedException", message)


def model_not_found(name: str) -> FrontendError:
    """Refuse a model that is not there."""
    return FrontendError(404, "ModelNotFoundException", f"Model not found: {name}")


def version_not_found(name: str, version: str) -> FrontendError:
    """Refuse a version that is not there."""
    message = f"Model version: {version} does not exist for model: {name}"
    return FrontendError(404, "ModelVersionNotFoundException", message)


def internal(message: str, status: int = 500) -> FrontendError:
    """Tell of what went wrong on the server's side."""
    return FrontendError(status, "InternalServerException", message)


def workers_not_started(name: str, version: str, error: Exception) -> FrontendError:
    """Tell that a model has not got its workers, for this reason."""
    message = f"Failed to start workers for model {name} version: {version}"
    return internal(message, _status_of(error))


def _status_of(error: Exception) -> int:
    """Give TorchServe's status for what ended workers: it sets a lack of memory apart."""
    lacks_memory = isinstance(error, TorchLoomError) and error.lacks_memory
    return OutOfMemory.status if lacks_memory else 500


def unavailable(message: str) -> FrontendError:
    """Tell that nobody takes the request now."""
    return FrontendError(503, "ServiceUnavailableException", message)


#: Where nothing more is known of an error than its class, the first that fits: status and type.
_KINDS: Final[Sequence[tuple[type[TorchLoomError], int, str]]] = (
    (UnknownModel, 404, "ModelNotFoundException"),
    (InvalidModel, 400, "InvalidModelException"),
    (InvalidInput, 400, "BadRequestException"),
    (Conflict, 409, "ConflictStatusException"),
    (QueueFull, 503, "ServiceUnavailableException"),
    (OutOfMemory, OutOfMemory.status, "InternalServerException"),
)


def to_frontend_error(error: Exception, request_id: str) -> FrontendError:
    """Say any error in TorchServe's shape. What is not ours is logged, and told without details."""
    if isinstance(error, FrontendError):
        return error
    if isinstance(error, WorkerDied | DeadlineExceeded):
        return internal("Worker died.", _status_of(error))
    if isinstance(error, TaskFailed):
        return _from_handler(error)
    if isinstance(error, TorchLoomError):
        for kind, status, name in _KINDS:
            if isinstance(error, kind):
                return FrontendError(status, name, error.message)
        status = 400 if error.status < 500 else error.status  # noqa: PLR2004 - HTTP's own bound
        kind_of = "BadRequestException" if status == 400 else "InternalServerException"  # noqa: PLR2004 - the same
        return FrontendError(error.status, kind_of, error.message)
    _log.error("request %s failed", request_id, exc_info=error)
    return internal(f"This is a fault of the server. Its log tells more under id {request_id}.")


def _from_handler(error: TaskFailed) -> FrontendError:
    """Tell what a handler has said; of anything else that failed, that the prediction did."""
    if isinstance(error, HandlerFailed):
        return internal(error.message, error.status)
    return internal("Prediction failed", 503)
