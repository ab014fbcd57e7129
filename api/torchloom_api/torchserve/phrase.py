"""Phrases of statuses, as TorchServe writes them: those of its HTTP library."""

from __future__ import annotations

from functools import lru_cache
from http import HTTPStatus
from typing import Final


#: Where they differ from Python's, or Python changes its own.
_OWN: Final = {
    413: "Request Entity Too Large",
    414: "Request-URI Too Long",
    416: "Requested Range Not Satisfiable",
    422: "Unprocessable Entity",
}

#: Python knows these, TorchServe does not.
_UNKNOWN: Final = frozenset({103, 208, 226, 308, 418, 425, 451, 508})

_CLASSES: Final = ("Informational", "Success", "Redirection", "Client Error", "Server Error")


@lru_cache(maxsize=1000)
def phrase_of(status: int) -> str:
    """Give the phrase; a status that TorchServe does not know is named by its class."""
    if status in _OWN:
        return _OWN[status]
    if status not in _UNKNOWN:
        try:
            return HTTPStatus(status).phrase
        except ValueError:
            pass
    place = status // 100 - 1
    name = _CLASSES[place] if 0 <= place < len(_CLASSES) else "Unknown Status"
    return f"{name} ({status})"
