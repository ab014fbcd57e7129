"""`ts.metrics.dimension`."""

from __future__ import annotations

from torchloom_models.archive.metric import Dimension


__all__ = ["Dimension"]
