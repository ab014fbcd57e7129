"""Counters and timings of the core, read as one frozen snapshot. Knows no metrics server.

Every series that the core keeps is declared in METRICS; a hot path holds the series itself.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

from torchloom.sample import Readings


_SECONDS = (
    *(0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05),
    *(0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0),
)
_SIZES = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0)


@dataclass(frozen=True, slots=True)
class Metric:
    """A declared metric: what it tells, its labels, and for a histogram its upper bounds."""

    name: str
    kind: Literal["counter", "gauge", "histogram"]
    help: str
    labels: tuple[str, ...]
    bounds: tuple[float, ...] = ()


_MODEL = ("model", "version")
_DEVICE = (*_MODEL, "device")

#: `role` is `served` or `shadow`.
_ROLE = (*_MODEL, "role")
_SHADOW = (*_ROLE, "state")
_ROLE_RUN = ("workflow", "version", "role")
_SHADOW_RUN = (*_ROLE_RUN, "state")

METRICS: Mapping[str, Metric] = {
    metric.name: metric
    for metric in (
        Metric("run_seconds", "histogram", "Length of runs.", ("workflow", "state"), _SECONDS),
        Metric("runs_in_progress", "gauge", "Runs that are not over.", ("workflow",)),
        Metric(
            "node_seconds",
            "histogram",
            "Time of a node in a run, waiting included.",
            ("workflow", "node"),
            _SECONDS,
        ),
        Metric("queue_seconds", "histogram", "Time that tasks waited.", _MODEL, _SECONDS),
        Metric("task_seconds", "histogram", "Time of tasks in a worker.", _DEVICE, _SECONDS),
        Metric("step_seconds", "histogram", "Length of an engine's steps.", _DEVICE, _SECONDS),
        Metric("batch_size", "histogram", "Tasks that a step worked on.", _DEVICE, _SIZES),
        Metric("tasks", "counter", "Tasks by how they ended.", (*_MODEL, "state")),
        Metric("tokens", "counter", "Tokens by type.", (*_MODEL, "type")),
        Metric("preemptions", "counter", "Tasks put back for lack of cache.", _DEVICE),
        Metric("guessed_tokens", "counter", "Tokens that were guessed ahead.", _DEVICE),
        Metric("accepted_tokens", "counter", "Guessed tokens that were right.", _DEVICE),
        Metric("kv_cache_blocks", "gauge", "Blocks of caches by state.", (*_DEVICE, "state")),
        Metric("queue_depth", "gauge", "Tasks that wait.", _MODEL),
        Metric("sessions", "gauge", "Sessions that are open.", _MODEL),
        Metric("tasks_in_flight", "gauge", "Tasks that workers hold.", _DEVICE),
        Metric("replicas", "gauge", "Replicas by state.", (*_MODEL, "state")),
        Metric("scalings", "counter", "Changes by load: up, down, failed.", (*_MODEL, "change")),
        Metric("model_memory_bytes", "gauge", "Memory that workers hold.", _DEVICE),
        Metric("worker_restarts", "counter", "Workers started again.", _MODEL),
        Metric("shadow_tasks", "counter", "Calls given to two versions, and dropped.", _SHADOW),
        Metric("shadow_task_seconds", "histogram", "Length of such calls.", _ROLE, _SECONDS),
        Metric("shadow_runs", "counter", "Runs given to two versions, and dropped.", _SHADOW_RUN),
        Metric("shadow_run_seconds", "histogram", "Length of such runs.", _ROLE_RUN, _SECONDS),
        Metric("cache_requests", "counter", "Node cache: hit, shared, miss.", ("node", "outcome")),
        Metric("retries", "counter", "Tries of a node after its first.", ("workflow", "node")),
    )
}


class Histogram:
    """Counts of observations by upper bound, the last of them infinity, and their sum."""

    __slots__ = ("bounds", "counts", "total")

    def __init__(self, bounds: tuple[float, ...]) -> None:
        self.bounds = bounds
        self.counts = [0] * (len(bounds) + 1)
        self.total = 0.0

    def observe(self, value: float) -> None:
        """Count one observation."""
        self.counts[bisect_left(self.bounds, value)] += 1
        self.total += value


class Counter:
    """A number that only rises (a gauge may also fall)."""

    __slots__ = ("value",)

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, amount: float = 1.0) -> None:
        """Add to it."""
        self.value += amount


@dataclass(frozen=True, slots=True)
class Series:
    """One series of a snapshot.

    A histogram has `counts`, one per bound and one for infinity, and its sum as `value`.
    """

    metric: Metric
    labels: tuple[str, ...]
    value: float
    counts: tuple[int, ...] = ()


class Stats:
    """All series.

    Give labels in the order that METRICS declares; a series lives as long as this. `readings` are
    of models' own code.
    """

    def __init__(self) -> None:
        self.readings = Readings()
        self._histograms: dict[tuple[str, tuple[str, ...]], Histogram] = {}
        self._counters: dict[tuple[str, tuple[str, ...]], Counter] = {}

    def histogram(self, name: str, *labels: str) -> Histogram:
        """Give the series, made on first use. KeyError for a metric that is not declared."""
        key = (name, labels)
        if key not in self._histograms:
            self._histograms[key] = Histogram(METRICS[name].bounds)
        return self._histograms[key]

    def counter(self, name: str, *labels: str) -> Counter:
        """Give the counter or gauge, made on first use. KeyError for one that is not declared."""
        key = (name, labels)
        if key not in self._counters:
            _ = METRICS[name]
            self._counters[key] = Counter()
        return self._counters[key]

    def snapshot(self) -> Iterable[Series]:
        """Give every series as it stands."""
        for (name, labels), counter in list(self._counters.items()):
            yield Series(METRICS[name], labels, counter.value)
        for (name, labels), histogram in list(self._histograms.items()):
            counts = tuple(histogram.counts)
            yield Series(METRICS[name], labels, histogram.total, counts)
