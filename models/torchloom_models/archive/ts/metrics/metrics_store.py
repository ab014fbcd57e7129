"""`ts.metrics.metrics_store`: the older face."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom_models.archive.metric import MetricsCache


class MetricsStore(MetricsCache):
    """A cache that is made with the ids of a batch."""

    def __init__(self, request_ids: Mapping[int, str], model_name: str) -> None:
        super().__init__(model_name)
        self.request_ids = request_ids


__all__ = ["MetricsStore"]
