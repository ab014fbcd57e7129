"""What keeps an archive from being written. Knows no file."""

from __future__ import annotations

from torchloom.errors import TorchLoomError


class ArchiverError(TorchLoomError):
    """The archive cannot be written; the message says why, and what to do."""

    status = 422
    title = "The archive cannot be written"


class MissingFile(ArchiverError, FileNotFoundError):
    """A file that the archive is to hold is not there."""
