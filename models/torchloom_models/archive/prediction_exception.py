"""PredictionException: how a handler says with which status and words a request fails."""

from __future__ import annotations


class PredictionException(Exception):
    """Raised by handlers; the client is told `message`, with the status `error_code`."""

    def __init__(self, message: str, error_code: int = 500) -> None:
        super().__init__(message)
        self.message = message
        self.error_code = error_code

    def __str__(self) -> str:
        """Say both."""
        return f"{self.message} : {self.error_code}"
