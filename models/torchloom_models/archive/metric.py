"""Metrics of handlers: what they measure, under TorchServe's names, until the server takes it.

Of what is not taken, a bounded number is kept. Knows no server.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Final, cast

from torchloom.sample import Sample
from torchloom_models.archive.metric_error import (
    MetricsCacheKeyError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)


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

#: What TorchServe's own `metrics.yaml` declares.
_OWN: Final[Sequence[Mapping[str, object]]] = tuple(
    {"name": name, "kind": "gauge", "unit": "ms", "dimensions": ["ModelName", "Level"]}
    for name in ("HandlerTime", "PredictionTime")
)

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
        #: Whether it was declared, and did not come up with its first value.
        self.is_declared = True
        self._log = log

    def add_or_update(
        self, value: float, dimension_values: Sequence[str] = (), request_id: str = ""
    ) -> None:
        """Give a value. What is no number, or has other dimensions, is left out and logged.

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
        number = self._number_of(value)
        if number is None:
            return
        values = [_text(each) for each in dimension_values]
        self._log.add(
            Sample(
                name=_text(self.metric_name),
                kind=self.metric_type.value,
                unit=_text(self.unit),
                labels=dict(zip(map(_text, self.dimension_names), values, strict=True)),
                value=number,
                request_ids=_text(request_id),
            )
        )

    def _number_of(self, value: object) -> float | None:
        try:
            return float(value)  # type: ignore[arg-type]  # handlers give any
        except (TypeError, ValueError, OverflowError):
            told = f"The value {_text(value)[:200]!r} of the metric {self.metric_name!r}"
            _log.error("%s is no number: it is left out.", told)
            return None

    def take(self, value: float, dimensions: Sequence[Dimension], request_id: str = "") -> None:
        """Give a value with its dimensions, by their names; under other names, by their order."""
        by_name = {each.name: each.value for each in dimensions}
        if by_name.keys() == set(self.dimension_names):
            values = [by_name[name] for name in self.dimension_names]
        else:
            values = [each.value for each in dimensions]
        self.add_or_update(value, values, request_id)

    def update(
        self, value: float, request_id: str = "", dimensions: Sequence[Dimension] = ()
    ) -> None:
        """Give a value with other dimensions, which are the metric's from now on."""
        self.dimension_names = [each.name for each in dimensions]
        self.add_or_update(value, [each.value for each in dimensions], request_id)

    def reset(self) -> None:
        """Begin anew; what was given stays given."""


class MetricsCache:
    """What handlers call `context.metrics`. `declared`: the metrics that there are from the start.

    A metric that was declared, there or by a handler, keeps its dimensions; one that nobody has
    declared has those of its last value.
    """

    def __init__(
        self,
        model_name: str,
        log: MetricLog | None = None,
        declared: Sequence[Mapping[str, object]] = (),
    ) -> None:
        self.model_name = model_name
        self.request_ids: Mapping[int, str] | None = None
        self.log = log or MetricLog()
        self._own = (Dimension("ModelName", model_name), Dimension("Level", "Model"))
        self.cache: dict[MetricTypes, dict[str, CachingMetric]] = {}
        for each in (*_OWN, *declared):
            self.declare(**each)

    def declare(self, *, name: object, kind: object, unit: object, dimensions: object) -> None:
        """Declare a metric, as files do. Raises MetricsCacheKeyError and MetricsCacheTypeError."""
        if kind not in [each.value for each in MetricTypes]:
            raise MetricsCacheKeyError(
                f"The metric {name!r} is of no kind that there is: {kind!r}."
            )
        self.add_metric_to_cache(
            cast("str", name),
            cast("str", unit),
            cast("Sequence[str]", dimensions),
            MetricTypes(kind),
        )

    def add_metric_to_cache(
        self,
        metric_name: str,
        unit: str,
        dimension_names: Sequence[str] = (),
        metric_type: MetricTypes = MetricTypes.COUNTER,
    ) -> CachingMetric:
        """Declare a metric, and give what takes its values. The same again gives the same.

        Raises MetricsCacheTypeError.
        """
        _check_types(metric_name, unit, dimension_names, metric_type)
        known = self.cache.setdefault(metric_type, {}).get(metric_name)
        if known is None or known.dimension_names != list(dimension_names):
            known = CachingMetric(metric_name, unit, dimension_names, metric_type, self.log)
            self.cache[metric_type][metric_name] = known
        known.is_declared = True
        return known

    def get_metric(
        self, metric_name: str, metric_type: MetricTypes = MetricTypes.COUNTER
    ) -> CachingMetric:
        """Give a metric that was declared. Raises MetricsCacheKeyError for one that was not."""
        try:
            return self.cache[metric_type][metric_name]
        except KeyError:
            kind = getattr(metric_type, "value", metric_type)
            message = f"There is no {kind} {metric_name!r}: declare it first."
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
        """Give a value of a metric. The model and its level are added, unless they are given."""
        whole = _complete(dimensions, self._own)
        self._take(name, value, unit, whole, metric_type, self._ids(idx))

    def _take(
        self,
        name: str,
        value: float,
        unit: str,
        whole: Sequence[Dimension],
        kind: MetricTypes,
        request_ids: str,
    ) -> None:
        names = [each.name for each in whole]
        metric = self.cache.get(kind, {}).get(name)
        if metric is None or not (metric.is_declared or metric.dimension_names == names):
            metric = self.add_metric_to_cache(name, unit, names, kind)
            metric.is_declared = False
        metric.take(value, whole, request_ids)

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
        """Count an error. As in TorchServe, it belongs to no request, and to no model."""
        whole = _complete(dimensions, (Dimension("Level", "Error"),))
        self._take(name, value, "", whole, MetricTypes.COUNTER, "")

    def set_request_ids(self, request_ids: Mapping[int, str]) -> None:
        """Take the ids of a batch."""
        self.request_ids = request_ids

    def _ids(self, index: int | None) -> str:
        """Give the id of one request of the batch, or of all."""
        ids = self.request_ids or {}
        return ids.get(index, "") if index is not None else ",".join(ids.values())


def _complete(given: Sequence[Dimension], own: Sequence[Dimension]) -> list[Dimension]:
    """Add those of the model that were not given under their names."""
    if not given:
        return list(own)
    names = {each.name for each in given}
    return [*given, *(each for each in own if each.name not in names)]


def _check_types(name: object, unit: object, dimensions: object, kind: object) -> None:
    """Refuse what is no declaration. Raises MetricsCacheTypeError."""
    for value, kinds, told in (
        (name, str, f"the name of a metric is a text, not {name!r}"),
        (unit, str, f"the unit of {name!r} is a text, not {unit!r}"),
        (kind, MetricTypes, f"the type of {name!r} is one of MetricTypes, not {kind!r}"),
        (dimensions, (list, tuple), f"the dimensions of {name!r} are a list of names"),
    ):
        if not isinstance(value, kinds):
            raise MetricsCacheTypeError(told[0].upper() + told[1:] + ".")


def _text(value: object) -> str:
    """Give what can be sent and written."""
    if type(value) is str and value.isascii() and len(value) <= _MAX_TEXT:
        return value  # almost every one
    return str(value)[:_MAX_TEXT].encode("utf-8", "replace").decode()


def _check_unit(unit: str, known: Sequence[str]) -> None:
    if unit not in known:
        message = f"There is no unit {unit!r} here: write one of {', '.join(known)}."
        raise MetricsCacheValueError(message)
