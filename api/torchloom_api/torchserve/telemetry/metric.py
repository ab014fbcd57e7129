"""Metric: the series of one declared metric, as the page shows them and as lines of a log.

Knows no file and no request. A series is looked up by the values of its dimensions; what is
written again and again of it is written once.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterator, Sequence
from itertools import accumulate
from typing import Final

from torchloom.sample import BOUNDS
from torchloom_api.torchserve.telemetry.java_number import write_sample
from torchloom_api.torchserve.telemetry.measurement import Texts
from torchloom_api.torchserve.telemetry.metric_declaration import MetricDeclaration


#: What would end a line of a log, or cut it in two, and what takes its place.
CONTROLS: Final = dict.fromkeys((*range(32), 127, 133, 8232, 8233), " ")


class Series:
    """One series. A histogram has `counts`, one per bound and one for infinity."""

    __slots__ = ("counts", "labels", "texts", "value")

    def __init__(self, declaration: MetricDeclaration, values: Sequence[str]) -> None:
        self.value = 0.0
        self.counts = [0] * (len(BOUNDS) + 1) if declaration.kind == "histogram" else []
        pairs = list(zip(declaration.dimensions, values, strict=True))
        self.labels = "".join(f'{name}="{_escape(value)}",' for name, value in pairs)
        told = ",".join(f"{name}:{value}" for name, value in pairs[:-1]).translate(CONTROLS)
        head = f"{declaration.name}.{declaration.unit}:".translate(CONTROLS)
        #: What the logs have before and after each of its values.
        self.texts: Texts = (head, f"|#{told}|#hostname:{pairs[-1][1]},")


class Metric:
    """A metric and its series, of which it keeps `max_series` at most."""

    def __init__(self, declaration: MetricDeclaration, *, max_series: int) -> None:
        self.declaration = declaration
        self.num_lost = 0
        self._max_series = max_series
        self._series: dict[tuple[str, ...], Series] = {}
        self._is_counter = declaration.kind == "counter"
        self._is_gauge = declaration.kind == "gauge"

    def observe(self, values: tuple[str, ...], value: float) -> bool:
        """Take a value in; tell whether it could be: counters do not fall, sums have numbers."""
        series = self._series.get(values)
        if series is None:
            if len(self._series) >= self._max_series:
                self.num_lost += 1
                return False
            series = self._series[values] = Series(self.declaration, values)
        if self._is_gauge:
            series.value = value
        elif self._is_counter:
            if not value >= 0:
                return False
            series.value += value
        else:
            if math.isnan(value):
                return False
            series.value += value
            series.counts[bisect_left(BOUNDS, value)] += 1
        return True

    def series(self, values: tuple[str, ...]) -> Series:
        """Give a series, for the lines of its values; it is made if there is none."""
        series = self._series.get(values)
        if series is None:
            series = Series(self.declaration, values)
            if len(self._series) < self._max_series:
                self._series[values] = series
        return series

    def forget(self, values: tuple[str, ...]) -> None:
        """Let go of a series."""
        self._series.pop(values, None)

    def page(self) -> Iterator[str]:
        """Write all series as TorchServe's page has them: a comma behind each label."""
        declared = self.declaration
        name, kind = declared.name, declared.kind
        unit = declared.unit.replace("\\", r"\\").replace("\n", r"\n")
        yield f"# HELP {name} Torchserve prometheus {kind} metric with unit: {unit}\n"
        yield f"# TYPE {name} {kind}\n"
        for series in list(self._series.values()):
            if kind != "histogram":
                yield f"{name}{{{series.labels}}} {write_sample(series.value)}\n"
                continue
            bounds = [*(str(bound) for bound in BOUNDS), "+Inf"]
            for bound, count in zip(bounds, accumulate(series.counts), strict=True):
                yield f'{name}_bucket{{{series.labels}le="{bound}",}} {float(count)}\n'
            yield f"{name}_count{{{series.labels}}} {float(sum(series.counts))}\n"
            yield f"{name}_sum{{{series.labels}}} {write_sample(series.value)}\n"


def _escape(value: str) -> str:
    return value.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
