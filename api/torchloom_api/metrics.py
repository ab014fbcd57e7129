"""Metrics in Prometheus' text format, read from the core's snapshot. Hot paths touch none of this.

RequestMeter is the API's own part: how long requests took, by route and status.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Final

from prometheus_client import CollectorRegistry, generate_latest
from prometheus_client.core import (
    CounterMetricFamily,
    GaugeMetricFamily,
    HistogramMetricFamily,
)
from prometheus_client.core import (
    Metric as Family,
)
from prometheus_client.process_collector import ProcessCollector
from prometheus_client.registry import Collector

from torchloom.stats import METRICS, Histogram, Metric, Series


#: Every metric's name begins with this.
PREFIX: Final = "torchloom_"

#: The media type of `GET /metrics`.
METRICS_TEXT: Final = b"text/plain; version=0.0.4"

_REQUEST: Final = Metric(
    "request_seconds",
    "histogram",
    "Length of HTTP requests.",
    ("method", "route", "status"),
    METRICS["run_seconds"].bounds,
)
_IN_HAND: Final = Metric("requests_in_progress", "gauge", "HTTP requests in hand.", ())

Snapshot = Callable[[], Iterable[Series]]


class RequestMeter:
    """Counts and times requests. One dictionary look-up and one addition a request."""

    def __init__(self) -> None:
        self.num_in_hand = 0
        self._histograms: dict[tuple[str, str, int], Histogram] = {}

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """Count a request that is over. `route` is the path's pattern, so that series stay few."""
        key = (method, route, status)
        histogram = self._histograms.get(key)
        if histogram is None:
            histogram = self._histograms[key] = Histogram(_REQUEST.bounds)
        histogram.observe(seconds)

    def snapshot(self) -> Iterator[Series]:
        """Give every series as it stands."""
        yield Series(_IN_HAND, (), self.num_in_hand)
        for (method, route, status), histogram in list(self._histograms.items()):
            labels = (method, route, str(status))
            yield Series(_REQUEST, labels, histogram.total, tuple(histogram.counts))


class SeriesCollector(Collector):
    """Turns snapshots into Prometheus' families, when they are asked for and not before."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        self._snapshots = tuple(snapshots)

    def collect(self) -> Iterable[Family]:
        """Give one family a metric, with all of its series."""
        families: dict[str, Family] = {}
        for snapshot in self._snapshots:
            for series in snapshot():
                name = series.metric.name
                if name not in families:
                    families[name] = _new_family(series.metric)
                _add(families[name], series)
        return families.values()


class MetricsPage:
    """The text that `GET /metrics` answers with: the core, the requests, and this process."""

    def __init__(self, snapshots: Iterable[Snapshot]) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(SeriesCollector(snapshots))
        ProcessCollector(registry=self._registry)

    def render(self) -> bytes:
        """Write every series as it stands."""
        return generate_latest(self._registry)


def _new_family(metric: Metric) -> Family:
    name, labels = PREFIX + metric.name, metric.labels
    match metric.kind:
        case "counter":
            return CounterMetricFamily(name, metric.help, labels=labels)
        case "gauge":
            return GaugeMetricFamily(name, metric.help, labels=labels)
        case "histogram":
            return HistogramMetricFamily(name, metric.help, labels=labels)


def _add(family: Family, series: Series) -> None:
    if isinstance(family, HistogramMetricFamily):
        family.add_metric(series.labels, _to_buckets(series), series.value)
    elif isinstance(family, CounterMetricFamily | GaugeMetricFamily):
        family.add_metric(series.labels, series.value)


def _to_buckets(series: Series) -> list[tuple[str, float]]:
    """Sum the counts up: Prometheus' buckets hold all that is at or below their bound."""
    bounds = [*(str(bound) for bound in series.metric.bounds), "+Inf"]
    buckets: list[tuple[str, float]] = []
    total = 0
    for bound, count in zip(bounds, series.counts, strict=True):
        total += count
        buckets.append((bound, total))
    return buckets
