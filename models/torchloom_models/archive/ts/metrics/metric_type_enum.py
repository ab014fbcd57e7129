"""`ts.metrics.metric_type_enum`."""

from __future__ import annotations

from torchloom_models.archive.metric import MetricTypes


__all__ = ["MetricTypes"]
