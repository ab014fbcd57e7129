"""MetricBook: all metrics of TorchServe's names: those for the page, and those for the logs.

`metrics_mode` decides: `prometheus` shows all on the page, `log` writes all to the logs, `legacy`
shows three and writes the others. Knows no request and no file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from functools import partial
from typing import Final, Literal

from torchloom.sample import OnSample, Sample
from torchloom_api.torchserve.telemetry.measurement import Measured, Texts
from torchloom_api.torchserve.telemetry.metric import CONTROLS, Metric
from torchloom_api.torchserve.telemetry.metric_declaration import (
    HOSTNAME,
    MetricDeclaration,
    MetricTable,
)
from torchloom_api.torchserve.telemetry.metric_file import LABEL, NAME
from torchloom_api.torchserve.telemetry.row import Row


_log = logging.getLogger(__name__)

Mode = Literal["log", "prometheus", "legacy"]

#: Loggers that metrics are written to.
SERVER_LOGGER: Final = "TS_METRICS"
MODEL_LOGGER: Final = "MODEL_METRICS"

#: What the page shows in the mode `legacy`.
_LEGACY: Final = frozenset(
    {
        "ts_inference_requests_total",
        "ts_inference_latency_microseconds",
        "ts_queue_latency_microseconds",
    }
)

#: The most series of one metric, and metrics that handlers bring along undeclared.
_MAX_SERIES: Final = 1000
_MAX_DETECTED: Final = 1000

#: Faults that are told; of others of the same handler it is known by then.
_MAX_TOLD: Final = 100

#: How what follows a name on a page's line tells series of a histogram.
_SUFFIXES: Final = ("", "_bucket", "_count", "_sum")

#: Takes values for a logger, of one moment.
Write = Callable[[str, Sequence[Measured]], None]

#: What a series is called: the name of its metric, and the values of all dimensions but the host's.
SeriesName = tuple[str, tuple[str, ...]]

#: Of so many series it is remembered what is done with their values.
_MAX_KNOWN: Final = 10_000


def _drop_sample(sample: Sample) -> None:
    """Take a sample of what is declared nowhere."""


def _pick(metric: Metric, names: Collection[str]) -> list[str]:
    """Give the lines that are asked for below the two that tell what they are; or none at all."""
    name = metric.declaration.name
    if not any(name + end in names for end in _SUFFIXES):
        return []
    about, about_kind, *samples = metric.page()
    if name not in names:
        samples = [line for line in samples if line.partition("{")[0] in names]
    return [about, about_kind, *samples] if samples else []


class MetricBook:
    """Takes values, and shows or writes them.

    `detects`: metrics of handlers that are declared nowhere are taken as well.
    """

    def __init__(
        self,
        table: MetricTable,
        *,
        mode: Mode,
        hostname: str,
        write: Write,
        detects: bool = False,
        max_series: int = _MAX_SERIES,
    ) -> None:
        self.mode = mode
        self.hostname = hostname
        self._write = write
        self._detects = detects
        self._max_series = max_series
        self._server = self._make(table.server)
        self._model = self._make(table.model)
        self._detected = 0
        self._told: set[tuple[str, str]] = set()
        self._rows: dict[SeriesName, Row] = {}

    def add(self, name: str, dimensions: tuple[str, ...], value: float) -> None:
        """Take a value of a metric of the server's own, if it is declared.

        `dimensions`: the values of all but the host's.
        """
        row = self._rows.get((name, dimensions))
        if row is None:
            if len(self._rows) >= _MAX_KNOWN:
                self._rows.clear()
            row = self._rows[name, dimensions] = self.row((name, dimensions))
        self.write((row.take((value,)),))

    def write(self, values: Iterable[Measured | None]) -> None:
        """Write what rows have given, of one moment."""
        measured = [each for each in values if each is not None]
        if measured:
            self._write(SERVER_LOGGER, measured)

    def row(self, *names: SeriesName) -> Row:
        """Give what takes values of series of the server's own, which come together.

        Whoever has such again and again keeps it, and has what it gives written.
        """
        shown: list[tuple[int, Callable[[float], None]]] = []
        told: list[tuple[int, Texts]] = []
        for place, (name, dimensions) in enumerate(names):
            metric = self._server.get(name)
            whole = (*dimensions, self.hostname)
            if metric is not None and self._is_shown(name):
                shown.append((place, partial(self._observe, metric, whole)))
            elif metric is not None:
                told.append((place, metric.series(whole).texts))
        return Row(shown, told)

    def sample_taker(self, sample: Sample) -> OnSample:
        """Give what takes what a handler measures of a sample's series.

        It is left out unless it is declared, or undeclared ones are wanted.
        """
        found = self._find_series(sample)
        if found is None:
            return _drop_sample
        metric, values = found
        if self.mode == "prometheus":
            return lambda sample: self._observe(metric, values, sample.value)
        (head, tail), write = metric.series(values).texts, self._write

        def take(sample: Sample) -> None:
            ids = sample.request_ids or "null"
            if not ids.isprintable():
                ids = ids.translate(CONTROLS)
            texts = ((head, f"{tail}requestID:{ids},"),)
            write(MODEL_LOGGER, ((texts, (sample.value,)),))

        return take

    def _find_series(self, sample: Sample) -> tuple[Metric, tuple[str, ...]] | None:
        """Give the metric and the values of its dimensions; None where there is no such."""
        metric = self._model.get(sample.name) or self._detect(sample)
        if metric is None:
            return None
        labels = {HOSTNAME: self.hostname, **sample.labels}
        dimensions = metric.declaration.dimensions
        if labels.keys() != set(dimensions):
            self._tell(sample.name, f"has the dimensions {sorted(labels)}, not {dimensions}")
            return None
        return metric, tuple(labels[name] for name in dimensions)

    def forget(self, name: str, values: tuple[str, ...]) -> None:
        """Let go of a series of the server's own."""
        metric = self._server.get(name)
        if metric is not None:
            metric.forget((*values, self.hostname))

    def page(self, names: Collection[str] = ()) -> str:
        """Write what the page shows: all of it, or what has one of these names.

        A name is that of a metric, or of some of a histogram's samples: `NAME_sum`.
        """
        if not names:
            return "".join(line for metric in self._shown() for line in metric.page())
        return "".join(line for metric in self._shown() for line in _pick(metric, names))

    def _shown(self) -> Iterator[Metric]:
        for name, metric in self._server.items():
            if self._is_shown(name):
                yield metric
        if self.mode == "prometheus":
            yield from self._model.values()

    def _is_shown(self, name: str) -> bool:
        return self.mode == "prometheus" or (self.mode == "legacy" and name in _LEGACY)

    def _make(self, declared: Mapping[str, MetricDeclaration]) -> dict[str, Metric]:
        return {
            name: Metric(declaration, max_series=self._max_series)
            for name, declaration in declared.items()
        }

    def _observe(self, metric: Metric, values: tuple[str, ...], value: float) -> None:
        if not metric.observe(values, value):
            fault = "has too many series" if metric.num_lost else f"cannot rise by {value}"
            self._tell(metric.declaration.name, f"{fault}; the value is left out")

    def _detect(self, sample: Sample) -> Metric | None:
        """Declare what a handler measures, where that is wanted and it can be shown."""
        if not self._detects:
            self._tell(sample.name, "is not declared in metrics_config, and left out")
            return None
        dimensions = tuple(name for name in sample.labels if name != HOSTNAME)
        is_sound = NAME.fullmatch(sample.name) and all(map(LABEL.fullmatch, dimensions))
        if not is_sound or sample.name in self._server or self._detected >= _MAX_DETECTED:
            self._tell(sample.name, "cannot be taken as a new metric, and is left out")
            return None
        self._detected += 1
        declared = MetricDeclaration(
            name=sample.name,
            kind=sample.kind,
            unit=sample.unit,
            dimensions=(*dimensions, HOSTNAME),
        )
        metric = self._model[sample.name] = Metric(declared, max_series=self._max_series)
        return metric

    def _tell(self, name: str, fault: str) -> None:
        """Warn once of a metric, and of so many metrics at most."""
        key = (name, fault.partition(" ")[0])
        if key not in self._told and len(self._told) < _MAX_TOLD:
            self._told.add(key)
            _log.warning("The metric %r %s.", name[:200], fault)
