"""Samples: what a model's own code measures, under names of its own; and Readings, their sums.

The core's own metrics are declared (see `stats.py`); these are not, and so are bounded.
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal, Protocol, runtime_checkable

import msgspec


SampleKind = Literal["counter", "gauge", "histogram"]

#: Upper bounds of histograms: Prometheus' default ones.
BOUNDS: Final = (0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0)

#: The most series that all models together may have.
MAX_SERIES: Final = 10_000


class Sample(msgspec.Struct, frozen=True, array_like=True):
    """One value. Values of a counter add up, of a gauge the last one stands.

    `request_ids` are those of the requests that it belongs to, joined by commas.
    """

    name: str
    kind: SampleKind
    unit: str
    labels: Mapping[str, str]
    value: float
    request_ids: str = ""


@runtime_checkable
class Sampling(Protocol):
    """An Engine whose model measures something by itself."""

    def take_samples(self) -> Sequence[Sample]:
        """Give what was measured since it was last asked. Asked after each step; cheap."""
        ...


#: Is told of each sample of one series.
OnSample = Callable[[Sample], None]

#: Is asked once of each series, by model, version and a sample of it, who is told of its samples.
OnSeries = Callable[[str, int, Sample], OnSample]


@dataclass(slots=True)
class Reading:
    """The sum of a series, and who is told of its samples.

    A histogram has `counts`, one per bound and one for infinity.
    """

    model: str
    version: int
    sample: Sample
    value: float = 0.0
    counts: list[int] = field(default_factory=list)
    listeners: list[OnSample] = field(default_factory=list)


class Readings:
    """All series of samples, and who listens to them. Beyond the bound, new ones are counted."""

    def __init__(self, max_series: int = MAX_SERIES) -> None:
        self.num_lost = 0
        self._max_series = max_series
        self._listeners: list[OnSeries] = []
        self._readings: dict[tuple[object, ...], Reading] = {}
        #: The same, by labels in the order in which they come.
        self._known: dict[tuple[object, ...], Reading] = {}

    def listen(self, listener: OnSeries) -> None:
        """Have a listener asked of each series."""
        self._listeners.append(listener)
        for each in self._readings.values():
            each.listeners.append(listener(each.model, each.version, each.sample))

    def add(self, model: str, version: int, samples: Iterable[Sample]) -> None:
        """Take samples in."""
        for sample in samples:
            key = (model, version, sample.name, sample.kind, sample.unit, *sample.labels.items())
            reading = self._known.get(key) or self._find(key, model, version, sample)
            for listener in reading.listeners:
                listener(sample)
            _update(reading, sample)

    def snapshot(self) -> Sequence[Reading]:
        """Give every series as it stands."""
        return list(self._readings.values())

    def forget(self, model: str, version: int) -> None:
        """Let go of the series of a model that is no more."""
        for readings in (self._readings, self._known):
            for key in [key for key in readings if key[:2] == (model, version)]:
                del readings[key]

    def _find(
        self, known_as: tuple[object, ...], model: str, version: int, sample: Sample
    ) -> Reading:
        """Give the series of a sample; beyond the bound, one that nobody sees."""
        labels = sorted(sample.labels.items())
        key = (model, version, sample.name, sample.kind, sample.unit, *labels)
        found = self._readings.get(key)
        if found is None:
            listeners = [listener(model, version, sample) for listener in self._listeners]
            found = Reading(model, version, sample, listeners=listeners)
            if len(self._readings) >= self._max_series:
                self.num_lost += 1
                return found
            self._readings[key] = found
        if len(self._known) >= self._max_series:
            self._known.clear()
        self._known[known_as] = found
        return found


def _update(reading: Reading, sample: Sample) -> None:
    if sample.kind == "gauge":
        reading.value = sample.value
        return
    reading.value += sample.value
    if sample.kind == "histogram":
        if not reading.counts:
            reading.counts = [0] * (len(BOUNDS) + 1)
        reading.counts[bisect_left(BOUNDS, sample.value)] += 1
