"""Note: something that a migration could not carry over, or did in its own way."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Note:
    """What of the old installation it is about, and what whoever migrates should know."""

    subject: str
    message: str

    def __str__(self) -> str:
        """Render as one line."""
        return f"{self.subject}: {self.message}"
