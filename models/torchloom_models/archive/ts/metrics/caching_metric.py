"""`ts.metrics.caching_metric`."""

from __future__ import annotations

from torchloom_models.archive.metric import CachingMetric


__all__ = ["CachingMetric"]
