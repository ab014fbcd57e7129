"""`ts.context`."""

from __future__ import annotations

from torchloom_models.archive.context import Context, RequestProcessor


__all__ = ["Context", "RequestProcessor"]
