"""Metrics in Prometheus' text format, read from the core's snapshot. Hot paths touch none of this.

RequestMeter is the API's own part: how long requests took, by route and status.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import accumulate
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

from torchloom.sample import BOUNDS, Reading, Readings
from torchloom.stats import METRICS, Histogram, Metric, Series


#: Every metric's name begins with this.
PREFIX: Final = "torchloom_"

#: The names of what models measure by themselves begin with this.
READING_PREFIX: Final = "torchloom_handler_"

#: What a name of Prometheus may not hold.
_NO_NAME: Final = re.compile(r"[^a-zA-Z0-9_]")

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


class ReadingCollector(Collector):
    """Turns what models measure by themselves into families, under names of their own."""

    def __init__(self, readings: Readings) -> None:
        self._readings = readings

    def collect(self) -> Iterable[Family]:
        """Give one family a name and kind; labels are each series' own."""
        families: dict[tuple[str, str], Family] = {}
        for reading in self._readings.snapshot():
            sample = reading.sample
            key = (sample.name, sample.kind)
            if key not in families:
                is_taken = any(name == sample.name for name, _ in families)
                name = f"{sample.name}_{sample.kind}" if is_taken else sample.name
                help_ = f"Measured by the handler, in: {sample.unit}."
                families[key] = Family(READING_PREFIX + _to_name(name), help_, sample.kind)
            _add_reading(families[key], reading)
        return families.values()


class MetricsPage:
    """The text that `GET /metrics` answers with: the core, the requests, and this process.

    `readings`: what models measure by themselves.
    """

    def __init__(self, snapshots: Iterable[Snapshot], *, readings: Readings | None = None) -> None:
        self._registry = CollectorRegistry()
        self._registry.register(SeriesCollector(snapshots))
        self._registry.register(ReadingCollector(readings or Readings()))
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


def _add_reading(family: Family, reading: Reading) -> None:
    own = {_to_name(name): value for name, value in reading.sample.labels.items()}
    labels = {**own, "model": reading.model, "version": str(reading.version)}
    match reading.sample.kind:
        case "counter":
            family.add_sample(f"{family.name}_total", labels, reading.value)
        case "gauge":
            family.add_sample(family.name, labels, reading.value)
        case "histogram":
            for bound, count in _sum_up(BOUNDS, reading.counts):
                family.add_sample(f"{family.name}_bucket", {**labels, "le": bound}, count)
            family.add_sample(f"{family.name}_count", labels, sum(reading.counts))
            family.add_sample(f"{family.name}_sum", labels, reading.value)


def _to_name(text: str) -> str:
    """Give a name that Prometheus takes."""
    name = _NO_NAME.sub("_", text)
    return f"_{name}" if not name or name[0].isdigit() else name


def _to_buckets(series: Series) -> list[tuple[str, float]]:
    return _sum_up(series.metric.bounds, series.counts)


def _sum_up(bounds: Sequence[float], counts: Sequence[int]) -> list[tuple[str, float]]:
    """Sum the counts up: Prometheus' buckets hold all that is at or below their bound."""
    names = [*(str(bound) for bound in bounds), "+Inf"]
    return list(zip(names, accumulate(counts), strict=True))
