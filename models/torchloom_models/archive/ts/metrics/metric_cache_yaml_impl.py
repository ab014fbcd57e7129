"""`ts.metrics.metric_cache_yaml_impl`."""

from __future__ import annotations

from torchloom_models.archive.metric import MetricsCache


#: The name under which TorchServe has it.
MetricsCacheYamlImpl = MetricsCache

__all__ = ["MetricsCacheYamlImpl"]
