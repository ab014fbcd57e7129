"""`ts.metrics.metric_cache_abstract`."""

from __future__ import annotations

from torchloom_models.archive.metric import MetricsCache


#: The name under which TorchServe has what all caches share.
MetricCacheAbstract = MetricsCache

__all__ = ["MetricCacheAbstract"]
