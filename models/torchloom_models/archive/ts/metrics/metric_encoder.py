"""`ts.metrics.metric_encoder`."""

from __future__ import annotations

import json

from torchloom_models.archive.metric import Dimension
from torchloom_models.archive.ts.metrics.metric import Metric


class MetricEncoder(json.JSONEncoder):
    """Writes metrics and dimensions as JSON: `json.dumps(metric, cls=MetricEncoder)`."""

    def default(self, o: object) -> object:
        """Give a metric as a mapping."""
        if isinstance(o, Metric | Dimension):
            return o.to_dict()
        return super().default(o)


__all__ = ["MetricEncoder"]
