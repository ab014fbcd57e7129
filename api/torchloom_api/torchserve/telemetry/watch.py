"""Watch: metrics and logs as the settings say, for as long as a server lasts."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

from torchloom.deployment import Deployment
from torchloom.executor import Executor, LocalExecutor
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.telemetry.heard_executor import HeardExecutor
from torchloom_api.torchserve.telemetry.log_feed import LogFeed
from torchloom_api.torchserve.telemetry.log_order import LogOrder
from torchloom_api.torchserve.telemetry.measurement import Measured
from torchloom_api.torchserve.telemetry.metric_book import MetricBook
from torchloom_api.torchserve.telemetry.metric_declaration import DEFAULT, MetricTable
from torchloom_api.torchserve.telemetry.metric_file import InvalidMetricsFile, read_metric_file
from torchloom_api.torchserve.telemetry.page import pick_families
from torchloom_api.torchserve.telemetry.python_logs import take_logs
from torchloom_api.torchserve.telemetry.telemetry import Telemetry, find_hostname
from torchloom_api.torchserve.telemetry.worker_output import StreamName, WorkerOutput


_log = logging.getLogger(__name__)


class Watch:
    """Watches a server from before its first worker on. `executor`: what workers start by."""

    def __init__(self, settings: FrontendSettings, feed: LogFeed | None) -> None:
        self._settings = settings
        self._feed = feed
        self._telemetry: Telemetry | None = None
        self._output = None if feed is None else WorkerOutput(self._on_line)
        streams = None if self._output is None else self._output.open
        starting = LocalExecutor(
            open_streams=streams,
            hidden=settings.blacklist_env_vars,
            added=settings.worker_variables,
        )
        self.executor: Executor = HeardExecutor(starting, self._on_loaded)

    @asynccontextmanager
    async def over(self, frontend: Frontend) -> AsyncIterator[None]:
        """Watch a frontend, and write what its metrics port shows."""
        settings, feed = self._settings, self._feed
        table = _read_table(settings.metrics_config)
        if table is not DEFAULT:
            declared = [each.to_document() for each in table.model.values()]
            frontend.registration.metrics = declared
        book = MetricBook(
            table,
            mode=settings.metrics_mode,
            hostname=find_hostname(),
            write=_write_nowhere if feed is None else feed.measure,
            detects=settings.model_metrics_auto_detect,
        )
        telemetry = self._telemetry = Telemetry(frontend.catalog, book, feed)
        frontend.on_answered.append(telemetry.on_answered)
        frontend.on_called.append(telemetry.on_called)
        frontend.on_predicted.append(telemetry.on_predicted)
        readings = frontend.service.orchestrator.stats.readings
        readings.listen(telemetry.on_series)
        native = frontend.service.metrics.render

        def page(names: Collection[str]) -> bytes:
            if settings.metrics_mode == "log":
                return b""
            return telemetry.page(names).encode() + pick_families(native(), names)

        frontend.metrics_page = page
        frontend.gpu_usage = telemetry.gpu_usage
        watching = asyncio.create_task(
            telemetry.watch(
                interval_s=settings.metric_time_interval_s,
                command=settings.system_metrics_cmd,
                measures_host=not settings.disable_system_metrics,
            )
        )
        try:
            yield
        finally:
            watching.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await watching

    def close(self) -> None:
        """Read no more of what workers print."""
        if self._output is not None:
            self._output.close()

    def _on_loaded(self) -> None:
        if self._telemetry is not None:
            self._telemetry.look()

    def _on_line(self, deployment: Deployment, pid: int, stream: StreamName, line: str) -> None:
        if self._telemetry is not None:
            self._telemetry.on_line(deployment, pid, stream, line)


@contextmanager
def open_watch(settings: FrontendSettings) -> Iterator[Watch]:
    """Open the logs, if there are to be any. Raises InvalidLogConfig.

    At the end, all that was logged is written.
    """
    with ExitStack() as stack:
        feed = None
        if settings.log_location is not None:
            order = _to_order(settings, settings.log_location)
            _, notes = order.plan()
            feed = stack.enter_context(LogFeed(order))
            stack.enter_context(take_logs(feed))
            for note in notes:
                _log.warning("--log-config: %s.", note)
        watch = Watch(settings, feed)
        stack.callback(watch.close)
        yield watch


def _to_order(settings: FrontendSettings, location: Path) -> LogOrder:
    return LogOrder(
        logs=str(location),
        metrics=str(settings.metrics_location or location),
        config=None if settings.log_config is None else str(settings.log_config),
        is_on_console=settings.logs_to_console,
    )


def _read_table(path: Path | None) -> MetricTable:
    """Give what is declared; TorchServe's own where the file cannot be read."""
    if path is None:
        return DEFAULT
    try:
        return read_metric_file(path)
    except InvalidMetricsFile as error:
        _log.error("%s TorchServe's own metrics are used.", error.message)
        return DEFAULT


def _write_nowhere(logger: str, values: Sequence[Measured]) -> None:
    """Drop values: there are no logs."""
