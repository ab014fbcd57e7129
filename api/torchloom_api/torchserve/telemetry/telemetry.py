"""Telemetry: what happens on TorchServe's routes becomes metrics of its names, and lines of logs.

It listens: to answers, predictions, what handlers measure, what workers print, and the host. Knows
no socket; what it costs a request is a few dictionary look-ups and lists that grow.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import sys
from collections.abc import Collection, Iterator, Mapping, Sequence
from typing import Final

import psutil

from torchloom.deployment import Deployment
from torchloom.sample import OnSample, Sample
from torchloom_api.torchserve.catalog import Catalog, Served
from torchloom_api.torchserve.frontend import Answered, Called, Predicted
from torchloom_api.torchserve.telemetry.host_gauges import (
    GpuUse,
    HostValue,
    look_at_gpus,
    measure_host,
    read_values,
    run_tool,
    to_values,
)
from torchloom_api.torchserve.telemetry.log_feed import LogFeed
from torchloom_api.torchserve.telemetry.log_layout import Level
from torchloom_api.torchserve.telemetry.measurement import Measured
from torchloom_api.torchserve.telemetry.metric_book import MetricBook
from torchloom_api.torchserve.telemetry.prediction_series import HOST, PredictionSeries
from torchloom_api.torchserve.telemetry.worker_output import StreamName


_log = logging.getLogger(__name__)

#: How often it is looked for workers that are gone; those that come are told of.
_LOOK_S: Final = 1.0

#: First digit of a status → the metric that counts it; every other status is a fault.
_REQUESTS: Final[Mapping[int, str]] = {2: "Requests2XX", 4: "Requests4XX"}

_PREDICTION_TIME: Final = "PredictionTime"

#: TorchServe's own script, as `system_metrics_cmd` names it; what it measures is measured here.
_OWN_SCRIPT: Final = "ts/metrics/metric_collector.py"

#: Of so many models and versions it is remembered what takes what their predictions took.
_MAX_KNOWN: Final = 1000


class Telemetry:
    """Takes what happens to a MetricBook and a LogFeed (None: there are no logs)."""

    def __init__(self, catalog: Catalog, book: MetricBook, feed: LogFeed | None) -> None:
        self._catalog = catalog
        self._book = book
        self._feed = feed
        #: Model and number → milliseconds that its handler took last.
        self._handler_ms: dict[tuple[str, int], float] = {}
        #: Model and version asked for → what takes what their predictions took.
        self._predictions: dict[tuple[str, str | None], PredictionSeries] = {}
        #: Process → the name of its worker, once it has loaded.
        self._workers: dict[int, str] = {}
        #: What each GPU was at when the host was looked at last.
        self._gpus: Mapping[int, GpuUse] = {}

    def on_answered(self, told: Answered) -> None:
        """Count an answer of TorchServe's API, and write any to the access log."""
        if not told.is_native:
            name = _REQUESTS.get(told.status // 100, "Requests5XX")
            self._book.add(name, HOST, 1.0)
        asked = f"{told.method} {told.uri} HTTP/{told.http_version}"
        self._log_access(told.client, asked, told.status, told.seconds)

    def on_called(self, told: Called) -> None:
        """Write a call over gRPC to the access log; such are in no counter."""
        self._log_access(told.client, f"gRPC {told.path} HTTP/2.0", told.code, told.seconds)

    def _log_access(self, client: str, asked: str, status: int, seconds: float) -> None:
        if self._feed is not None:
            line = f'/{client} "{asked}" {status} {int(seconds * 1000)}'
            self._feed.log("ACCESS_LOG", line)

    def on_predicted(self, told: Sequence[Predicted]) -> None:
        """Count requests for predictions, and how long those took that succeeded."""
        values: list[Measured] = []
        for each in told:
            series = self._predictions.get((each.model, each.version))
            if series is None:
                series = self._begin_series(each.model, each.version)
            if not each.is_of_node:
                values += series.count()
            if each.queue_s is not None and each.run_s is not None:
                handler_ms = self._handler_ms.get((each.model, each.number), 0.0)
                values += series.take(each.seconds, each.queue_s, each.run_s, handler_ms)
        self._book.write(values)

    def _begin_series(self, model: str, version: str | None) -> PredictionSeries:
        if len(self._predictions) >= _MAX_KNOWN:
            self._predictions.clear()
        self._predictions[model, version] = series = PredictionSeries(self._book, model, version)
        return series

    def on_series(self, model: str, number: int, sample: Sample) -> OnSample:
        """Give what takes what a handler measures of a series."""
        take = self._book.sample_taker(sample)
        if sample.name != _PREDICTION_TIME:
            return take

        def note(sample: Sample) -> None:
            self._handler_ms[model, number] = sample.value
            take(sample)

        return note

    def on_line(self, deployment: Deployment, pid: int, stream: StreamName, line: str) -> None:
        """Write what a worker has printed."""
        if self._feed is None:
            return
        name = self._workers.get(pid) or self._name(deployment.name, deployment.version, pid)
        level: Level = "INFO" if stream == "stdout" else "WARN"
        self._feed.log("MODEL_LOG", line, level=level, thread=f"{name}-{stream}")

    def page(self, names: Collection[str]) -> str:
        """Write the metrics that the mode shows."""
        self.look()
        return self._book.page(names)

    def look(self) -> None:
        """Tell of workers that have loaded since the last look, and forget those that are gone."""
        there: dict[int, str] = {}
        for served in self._catalog.served():
            for pid, name, load_s in self._loaded(served):
                there[pid] = name
                if pid not in self._workers:
                    load_ms = float(int(load_s * 1000))
                    self._book.add("WorkerLoadTime", (name, *HOST), load_ms)
        for name in set(self._workers.values()) - set(there.values()):
            self._book.forget("WorkerLoadTime", (name, *HOST))
        self._workers = there

    async def watch(self, *, interval_s: float, command: str, measures_host: bool) -> None:
        """Look at the workers now and then, and at the host at each interval, until cancelled."""
        loop = asyncio.get_running_loop()
        host_at = loop.time() if measures_host else None
        while True:
            self.look()
            if host_at is not None and loop.time() >= host_at:
                host_at = max(host_at + interval_s, loop.time())
                try:
                    await self._look_at_host(command)
                except (OSError, ValueError, psutil.Error) as error:
                    _log.warning("The host cannot be measured: %s.", error)
            await asyncio.sleep(_LOOK_S)

    async def _look_at_host(self, command: str) -> None:
        self._gpus = await look_at_gpus()
        words = command.split()
        if words and words[0] != _OWN_SCRIPT:
            # As there: words of Python's command line, a script or `-m` and a module, unquoted.
            values = list(read_values(await run_tool(sys.executable, *words)))
            if not values:
                _log.warning("system_metrics_cmd gives no metrics: python %s", command)
            self.add_host(values)
            return
        host = await asyncio.to_thread(lambda: list(measure_host()))
        self.add_host([*host, *to_values(self._gpus)])

    def gpu_usage(self, device: str) -> str:
        """Say what a device was at when it was looked at last."""
        number = device.partition(":")[2] or "0"
        gpu = self._gpus.get(int(number)) if number.isdecimal() else None
        return "N/A" if gpu is None else str(gpu)

    def add_host(self, values: Collection[HostValue]) -> None:
        """Take what the host is at."""
        for each in values:
            dimensions = (*HOST, each.device) if each.device else HOST
            self._book.add(each.name, dimensions, float(each.value))

    def _loaded(self, served: Served) -> Iterator[tuple[int, str, float]]:
        """Give process, name and time to load of each worker that is there."""
        status = self._catalog.status(served)
        replicas = () if status is None else status.replicas
        ids = self._catalog.worker_ids(served, len(replicas))
        for worker_id, replica in zip(ids, replicas, strict=True):
            if replica.state == "ready" and replica.pid is not None:
                yield replica.pid, _worker_name(served, worker_id), replica.load_s

    def _name(self, model: str, number: int, pid: int) -> str:
        """Name the worker of a process that has not loaded yet, or is none of TorchServe's."""
        for served in self._catalog.served():
            if (served.name, served.number) != (model, number):
                continue
            status = self._catalog.status(served)
            pids = [] if status is None else [each.pid for each in status.replicas]
            if pid in pids:
                ids = self._catalog.worker_ids(served, len(pids))
                return _worker_name(served, ids[pids.index(pid)])
        return f"W-{model}_{number}"


def _worker_name(served: Served, worker_id: int) -> str:
    return f"W-{worker_id}-{served.name}_{served.version}"


def find_hostname() -> str:
    """Give the host's name as labels have it."""
    return socket.gethostname() or "unknown"
