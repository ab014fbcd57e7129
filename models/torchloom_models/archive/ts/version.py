"""`ts.version`."""

from __future__ import annotations

from torchloom_models.archive.ts import __version__


__all__ = ["__version__"]
