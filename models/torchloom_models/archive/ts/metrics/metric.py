"""`ts.metrics.metric`: the older face of one value, as `emit_metrics` writes it."""

from __future__ import annotations

import socket
import time
from collections.abc import Sequence
from typing import Any

from torchloom_models.archive.metric import UNITS, Dimension


class Metric:
    """A value with its unit and dimensions; of `metric_method` counters, values add up."""

    def __init__(
        self,
        name: str,
        value: float,
        unit: str,
        dimensions: Sequence[Dimension],
        request_id: str | None = None,
        metric_method: str | None = None,
    ) -> None:
        self.name = name
        self.value = value
        self.unit = UNITS.get(unit, unit)
        self.dimensions = list(dimensions)
        self.request_id = request_id
        self.metric_method = metric_method

    def update(self, value: float) -> None:
        """Take a value: a counter adds it."""
        self.value = self.value + value if self.metric_method == "counter" else value

    def reset(self) -> None:
        """Begin again at nothing."""
        self.value = 0

    def __str__(self) -> str:
        """Write it as logs have it."""
        dimensions = ",".join(map(str, self.dimensions))
        place = f"#hostname:{socket.gethostname()},{int(time.time())}"
        own = f",{self.request_id}" if self.request_id else ""
        return f"{self.name}.{self.unit}:{self.value}|#{dimensions}|{place}{own}"

    def to_dict(self) -> dict[str, Any]:
        """Give it as a mapping."""
        return {
            "MetricName": self.name,
            "Value": self.value,
            "Unit": self.unit,
            "Dimensions": self.dimensions,
            "Timestamp": int(time.time()),
            "HostName": socket.gethostname(),
            "RequestId": self.request_id,
        }


__all__ = ["Metric"]
