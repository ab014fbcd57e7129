"""PythonLogs: what this process logs by Python's `logging` goes where TorchServe's own words go."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Final

from torchloom_api.torchserve.telemetry.log_feed import LogFeed
from torchloom_api.torchserve.telemetry.log_layout import Level, LogEvent
from torchloom_api.torchserve.telemetry.log_plan import SERVER


#: Loggers whose names begin so are the server's own.
_OWN: Final = "torchloom"

_LEVELS: Final[Mapping[int, Level]] = {
    logging.DEBUG: "DEBUG",
    logging.INFO: "INFO",
    logging.WARNING: "WARN",
    logging.ERROR: "ERROR",
    logging.CRITICAL: "FATAL",
}


class PythonLogs(logging.Handler):
    """Hands records to a LogFeed."""

    def __init__(self, feed: LogFeed) -> None:
        super().__init__()
        self._feed = feed
        self._formatter = logging.Formatter("%(message)s")

    def emit(self, record: logging.LogRecord) -> None:
        """Hand a record on, its trace included."""
        try:
            message = self._formatter.format(record)
        except Exception:  # noqa: BLE001 - a wrong call of a logger breaks nothing, as in `logging`
            self.handleError(record)
            return
        level = _LEVELS.get(record.levelno, "INFO")
        thread = "main" if record.threadName in {None, "MainThread"} else str(record.threadName)
        self._feed.put(LogEvent(_name(record.name), level, thread, record.created, message))


def _name(name: str) -> str:
    """Name a logger as TorchServe's configurations do: the server's own are below one name."""
    if name.partition(".")[0].startswith(_OWN):
        return f"{SERVER}.{name.partition('.')[2] or name}"
    return name


@contextmanager
def take_logs(feed: LogFeed) -> Iterator[None]:
    """Have the whole process log there, for as long as the context lasts."""
    root = logging.getLogger()
    handler = PythonLogs(feed)
    before = root.level
    root.addHandler(handler)
    root.setLevel(logging.INFO)
    try:
        yield
    finally:
        root.removeHandler(handler)
        root.setLevel(before)
