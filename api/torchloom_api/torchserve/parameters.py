"""Parameters: what a management request asks for, from its query or from a JSON body.

TorchServe is lenient: numbers may be text, and what is no number counts as not given.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass

from torchloom_api.torchserve.frontend_error import bad_request
from torchloom_api.torchserve.request import Request


@dataclass(frozen=True, slots=True, kw_only=True)
class Parameters:
    """Parameters by name, as text."""

    values: Mapping[str, str]

    @classmethod
    def of(cls, request: Request) -> Parameters:
        """Read the query; of several of a name, the first counts."""
        return cls(values=dict(reversed(request.query)))

    @classmethod
    def of_registration(cls, request: Request) -> Parameters:
        """Read a JSON body where it says that it is one, else the query. Raises FrontendError."""
        if not request.content_type.lower().startswith("application/json"):
            return cls.of(request)
        try:
            document = json.loads(request.body)
        except (ValueError, RecursionError):
            raise bad_request("Failed to parse the request body: it is no JSON.") from None
        if not isinstance(document, dict):
            raise bad_request("Failed to parse the request body: it is no JSON object.")
        shown = {name: _to_text(value) for name, value in document.items()}
        return cls(values={name: value for name, value in shown.items() if value is not None})

    def text(self, name: str) -> str | None:
        """Give one, or None."""
        return self.values.get(name)

    def number(self, name: str) -> int | None:
        """Give one that is a number; None where it is not given, or is none."""
        value = self.values.get(name)
        try:
            return None if value is None else int(value)
        except ValueError:
            return None

    def flag(self, name: str, *, default: bool) -> bool:
        """Give one that is `true`, or anything else."""
        value = self.values.get(name)
        return default if value is None else value.lower() == "true"


def _to_text(value: object) -> str | None:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return None if value is None or isinstance(value, dict | list) else str(value)
