"""Metrics of handlers: what they measure, under TorchServe's names, until the server takes it.

Values add up by name and dimensions, so that what is not taken does not grow. Knows no server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final

from torchloom.sample import Sample
from torchloom_models.archive.metric_error import MetricsCacheKeyError, MetricsCacheValueError


_log = logging.getLogger(__name__)


class MetricTypes(Enum):
    """How values of one metric go together."""

    COUNTER = "counter"
    GAUGE = "gauge"
    HISTOGRAM = "histogram"


#: Units as handlers write them, and as metrics have them.
UNITS: Final[Mapping[str, str]] = {
    "ms": "Milliseconds",
    "s": "Seconds",
    "percent": "Percent",
    "count": "Count",
    "MB": "Megabytes",
    "kB": "Kilobytes",
    "GB": "Gigabytes",
    "B": "Bytes",
    "": "unit",
}

#: The most values that are kept until they are taken.
_MAX_SAMPLES: Final = 10_000

#: The longest name or value of a dimension, and the most ids of requests, in characters.
_MAX_TEXT: Final = 4096


@dataclass(frozen=True, slots=True)
class Dimension:
    """A name and a value that tell series of one metric apart."""

    name: str
    value: str

    def __str__(self) -> str:
        """Write it as logs have it."""
        return f"{self.name}:{self.value}"

    def to_dict(self) -> dict[str, str]:
        """Give it as a mapping."""
        return {"Name": self.name, "Value": self.value}


class MetricLog:
    """The values that were given since they were last taken, oldest first, within a bound."""

    def __init__(self) -> None:
        self._samples: list[Sample] = []
        self.num_lost = 0

    def add(self, sample: Sample) -> None:
        """Keep a value; beyond the bound it is counted as lost."""
        if len(self._samples) < _MAX_SAMPLES:
            self._samples.append(sample)
        else:
            self.num_lost += 1

    def take(self) -> Sequence[Sample]:
        """Give all values, and keep none."""
        samples, self._samples = self._samples, []
        return samples


class CachingMetric:
    """A metric that a handler has declared, to be updated with each batch."""

    def __init__(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str],
        metric_type: MetricTypes,
        log: MetricLog,
    ) -> None:
        self.metric_name = metric_name
        self.unit = UNITS.get(unit, unit)
        self.dimension_names = list(dimension_names)
        self.metric_type = metric_type
        self._log = log
        #: As samples have them: they are the same with each value.
        self._name, self._unit = _text(metric_name), _text(self.unit)
        self._labels = [_text(each) for each in self.dimension_names]

    def add_or_update(
        self, value: float, dimension_values: Sequence[str] = (), request_id: str = ""
    ) -> None:
        """Give a value. Without one for each dimension it is left out, and the log says so.

        A prediction does not fail for what is wrong with its metrics.
        """
        if len(dimension_values) != len(self.dimension_names):
            _log.error(
                "The metric %r has the dimensions %s, and %d values were given: it is left out.",
                self.metric_name,
                self.dimension_names,
                len(dimension_values),
            )
            return
        labels = dict(zip(self._labels, map(_text, dimension_values), strict=True))
        self._log.add(
            Sample(
                name=self._name,
                kind=self.metric_type.value,
                unit=self._unit,
                labels=labels,
                value=float(value),
                request_ids=_text(request_id),
            )
        )

    def update(
        self, value: float, request_id: str = "", dimensions: Sequence[Dimension] = ()
    ) -> None:
        """Give a value, with the dimensions as objects."""
        by_name = {each.name: str(each.value) for each in dimensions}
        values = [by_name.get(name, "") for name in self.dimension_names]
        self.add_or_update(value, values, request_id)

    def reset(self) -> None:
        """Begin anew; what was given stays given."""


class MetricsCache:
    """What handlers call `context.metrics`."""

    def __init__(self, model_name: str, log: MetricLog | None = None) -> None:
        self.model_name = model_name
        self.request_ids: Mapping[int, str] | None = None
        self.log = log or MetricLog()
        self.cache: dict[tuple[MetricTypes, str], CachingMetric] = {}

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> CachingMetric:
        """Declare a metric, and give what takes its values. The same again gives the same."""
        key = (metric_type, metric_name)
        known = self.cache.get(key)
        if known is None or known.dimension_names != list(dimension_names):
            known = CachingMetric(metric_name, unit, dimension_names, metric_type, self.log)
            self.cache[key] = known
        return known

    def get_metric(
        self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER
    ) -> CachingMetric:
        """Give a metric that was declared. Raises MetricsCacheKeyError for one that was not."""
        try:
            return self.cache[metric_type, metric_name]
        except KeyError:
            message = f"There is no {metric_type.value} {metric_name!r}: declare it first."
            raise MetricsCacheKeyError(message) from None

    def add_metric(
        self,
        name: str,
        value: float,
        unit: str,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> None:
        """Give a value of a metric. Those of the model and its level are added."""
        names = [*(each.name for each in dimensions), "ModelName", "Level"]
        values = [*(each.value for each in dimensions), self.model_name, "Model"]
        metric = self.add_metric_to_cache(name, unit, names, metric_type)
        metric.add_or_update(value, values, self._ids(idx))

    def add_counter(
        self, name: str, value: float, idx: int | None = None, dimensions: Sequence[Dimension] = ()
    ) -> None:
        """Count."""
        self.add_metric(name, value, "count", idx, dimensions, MetricTypes.COUNTER)

    def add_time(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "ms",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Give a time, in milliseconds or (`s`) seconds."""
        _check_unit(unit, ("ms", "s"))
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_size(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        unit: str = "MB",
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Give a size."""
        _check_unit(unit, ("MB", "kB", "GB", "B"))
        self.add_metric(name, value, unit, idx, dimensions, metric_type)

    def add_percent(
        self,
        name: str,
        value: float,
        idx: int | None = None,
        dimensions: Sequence[Dimension] = (),
        metric_type: MetricTypes = MetricTypes.GAUGE,
    ) -> None:
        """Give a share of a hundred."""
        self.add_metric(name, value, "percent", idx, dimensions, metric_type)

    def add_error(self, name: str, value: float, dimensions: Sequence[Dimension] = ()) -> None:
        """Count an error."""
        whole = [*dimensions, Dimension("Level", "Error")]
        metric = self.add_metric_to_cache(
            name, "", [each.name for each in whole], MetricTypes.COUNTER
        )
        # As in TorchServe, an error belongs to no request.
        metric.add_or_update(value, [each.value for each in whole])

    def _ids(self, index: int | None) -> str:
        """Give the id of one request of the batch, or of all."""
        ids = self.request_ids or {}
        return ids.get(index, "") if index is not None else ",".join(ids.values())


def _text(value: object) -> str:
    """Give what can be sent and written."""
    if isinstance(value, str) and value.isascii() and len(value) <= _MAX_TEXT:
        return value  # almost every one
    return str(value)[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _check_unit(unit: str, known: Sequence[str]) -> None:
    if unit not in known:
        message = f"There is no unit {unit!r} here: write one of {', '.join(known)}."
        raise MetricsCacheValueError(message)
