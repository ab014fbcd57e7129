"""Failure: what a handler raised becomes the status and words that TorchServe has for it."""

from __future__ import annotations

import logging
from typing import Final

from torchloom.errors import HandlerFailed, OutOfMemory
from torchloom_models.archive.prediction_exception import PredictionException


_log = logging.getLogger(__name__)

#: TorchServe's status where a prediction has failed.
_UNAVAILABLE: Final = 503

#: Of what an exception says, so many characters are told.
_MAX_CAUSE: Final = 1000

_LOWEST_STATUS: Final = 100
_HIGHEST_STATUS: Final = 599


def to_failure(error: BaseException) -> HandlerFailed:
    """Give the failure that an exception of a handler stands for; `cause` says what it was."""
    if isinstance(error, HandlerFailed):
        return error
    said = _find_said(error)
    if said is not None:
        return HandlerFailed(said[0], status=said[1])
    if is_out_of_memory(error):
        return HandlerFailed("Out of resources", cause=name_error(error), status=OutOfMemory.status)
    return HandlerFailed("Prediction failed", cause=name_error(error), status=_UNAVAILABLE)


def tell_raised(error: BaseException) -> None:
    """Log what a handler raised, in TorchServe's words, by which alerts on its logs find it.

    And what is wrong with what it gave.
    """
    if isinstance(error, HandlerFailed):
        text = " ".join([error.message, *(fault.message for fault in error.faults)])
    elif _find_said(error) is not None:
        text = "Prediction error"
    elif is_out_of_memory(error):
        text = "CUDA out of memory" if "CUDA" in str(error) else "System out of memory"
    else:
        text = "Invoking custom service failed."
    _log.error(text, exc_info=error)


def is_out_of_memory(error: BaseException) -> bool:
    """Tell a lack of memory by TorchServe's rule: MemoryError, or CUDA is in the text."""
    return isinstance(error, MemoryError) or "CUDA" in str(error)


def name_error(error: BaseException) -> str:
    """Say what was raised, in one line that is not endless and can be sent."""
    said = " ".join(f"{type(error).__name__}: {str(error)[:_MAX_CAUSE]}".split())
    return said[:_MAX_CAUSE].encode("utf-8", "replace").decode()


def _find_said(error: BaseException) -> tuple[str, int] | None:
    """Give message and status of a PredictionException; that of TorchServe itself is one too."""
    is_one = isinstance(error, PredictionException) or type(error).__name__ == "PredictionException"
    if not is_one:
        return None
    code = getattr(error, "error_code", 500)
    is_status = isinstance(code, int) and _LOWEST_STATUS <= code <= _HIGHEST_STATUS
    return str(getattr(error, "message", error)), code if is_status else 512
