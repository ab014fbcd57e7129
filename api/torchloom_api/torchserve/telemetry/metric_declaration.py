"""MetricDeclaration: what `metrics_config` says of a metric; and the ones that TorchServe has.

Reads no file: `metric_file` does.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Final

from torchloom.sample import SampleKind


HOSTNAME: Final = "Hostname"

_HOST: Final = ("Level", HOSTNAME)
_MODEL: Final = ("model_name", "model_version", "hostname")
_GPU: Final = ("Level", "DeviceId", HOSTNAME)
_HANDLER: Final = ("ModelName", "Level", HOSTNAME)


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricDeclaration:
    """A metric: its name, how values go together, its unit, and its dimensions in order.

    The last dimension is the host's name.
    """

    name: str
    kind: SampleKind
    unit: str
    dimensions: tuple[str, ...]

    def to_document(self) -> dict[str, object]:
        """Write it as model files do: its handler gives no host's name."""
        dimensions = [name for name in self.dimensions if name != HOSTNAME]
        return {"name": self.name, "kind": self.kind, "unit": self.unit, "dimensions": dimensions}


@dataclass(frozen=True, slots=True, kw_only=True)
class MetricTable:
    """All metrics that are declared, by name: the server's own, and those of handlers."""

    server: Mapping[str, MetricDeclaration] = field(default_factory=lambda: MappingProxyType({}))
    model: Mapping[str, MetricDeclaration] = field(default_factory=lambda: MappingProxyType({}))


#: How many values the server gives with each of its metrics: the dimensions are filled in order.
SERVER_DIMENSIONS: Final[Mapping[str, int]] = MappingProxyType(
    {
        **dict.fromkeys(("Requests2XX", "Requests4XX", "Requests5XX"), 2),
        "ts_inference_requests_total": 3,
        "ts_inference_latency_microseconds": 3,
        "ts_queue_latency_microseconds": 3,
        "QueueTime": 2,
        "WorkerThreadTime": 2,
        "WorkerLoadTime": 3,
        "CPUUtilization": 2,
        "MemoryUsed": 2,
        "MemoryAvailable": 2,
        "MemoryUtilization": 2,
        "DiskUsage": 2,
        "DiskUtilization": 2,
        "DiskAvailable": 2,
        "GPUMemoryUtilization": 3,
        "GPUMemoryUsed": 3,
        "GPUUtilization": 3,
    }
)


def _declare(
    kind: SampleKind, unit: str, dimensions: tuple[str, ...], *names: str
) -> Sequence[MetricDeclaration]:
    return [
        MetricDeclaration(name=name, kind=kind, unit=unit, dimensions=dimensions) for name in names
    ]


def _by_name(*groups: Sequence[MetricDeclaration]) -> Mapping[str, MetricDeclaration]:
    return MappingProxyType({each.name: each for group in groups for each in group})


#: What TorchServe declares where `metrics_config` names no file.
DEFAULT: Final = MetricTable(
    server=_by_name(
        _declare("counter", "Count", _HOST, "Requests2XX", "Requests4XX", "Requests5XX"),
        _declare("counter", "Count", _MODEL, "ts_inference_requests_total"),
        _declare(
            "counter",
            "Microseconds",
            _MODEL,
            "ts_inference_latency_microseconds",
            "ts_queue_latency_microseconds",
        ),
        _declare("gauge", "Milliseconds", _HOST, "QueueTime", "WorkerThreadTime"),
        _declare("gauge", "Milliseconds", ("WorkerName", *_HOST), "WorkerLoadTime"),
        _declare("gauge", "Percent", _HOST, "CPUUtilization"),
        _declare("gauge", "Megabytes", _HOST, "MemoryUsed", "MemoryAvailable"),
        _declare("gauge", "Percent", _HOST, "MemoryUtilization"),
        _declare("gauge", "Gigabytes", _HOST, "DiskUsage"),
        _declare("gauge", "Percent", _HOST, "DiskUtilization"),
        _declare("gauge", "Gigabytes", _HOST, "DiskAvailable"),
        _declare("gauge", "Percent", _GPU, "GPUMemoryUtilization"),
        _declare("gauge", "Megabytes", _GPU, "GPUMemoryUsed"),
        _declare("gauge", "Percent", _GPU, "GPUUtilization"),
    ),
    model=_by_name(_declare("gauge", "ms", _HANDLER, "HandlerTime", "PredictionTime")),
)
