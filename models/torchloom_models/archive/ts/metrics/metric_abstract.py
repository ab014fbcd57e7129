"""`ts.metrics.metric_abstract`."""

from __future__ import annotations

from torchloom_models.archive.metric import CachingMetric


#: The name under which TorchServe has what all metrics share.
MetricAbstract = CachingMetric

__all__ = ["MetricAbstract"]
