"""LogPlan: which events go to which files, in which form. Reads and writes no file.

The words are log4j's: an appender is a place for lines, and loggers, by their dotted names, say
which events reach it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from torchloom_api.torchserve.telemetry.log_layout import Layout, Level, make_pattern


LEVELS: Final[Mapping[str, int]] = {
    "ALL": 0,
    "TRACE": 5,
    "DEBUG": 10,
    "INFO": 20,
    "WARN": 30,
    "ERROR": 40,
    "FATAL": 50,
    "OFF": 1000,
}

#: The logger by whose rules the server's own words go: in TorchServe its Java classes are below.
SERVER: Final = "org.pytorch.serve"

_MIB: Final = 1 << 20

_METRIC: Final = "%d{ISO8601} - %m%n"
_FULL: Final = "%d{ISO8601} [%-5p] %t %c - %m%n"


@dataclass(frozen=True, slots=True, kw_only=True)
class Rolling:
    """When a file is put aside, and under which name.

    `pattern` may have `%d{…}` and `%i`; the ending `.gz` means that it is compressed. None for what
    does not matter. `max_files`: of one `%d`, this many are kept.
    """

    pattern: str | None = None
    max_bytes: int | None = None
    is_daily: bool = False
    max_files: int = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Appender:
    """A place for lines: a file, or without a path standard output."""

    name: str
    layout: Layout
    path: Path | None = None
    rolling: Rolling = Rolling()
    #: Events below it do not come in.
    level: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class LoggerRule:
    """What is said of a logger and those below it. None: as the one above it says.

    `is_additive`: what the one above it says counts, too.
    """

    level: int | None = None
    appenders: tuple[str, ...] = ()
    is_additive: bool = True


@dataclass(frozen=True, slots=True, kw_only=True)
class LogPlan:
    """Appenders by name, and rules by logger; the root's name is empty."""

    appenders: Mapping[str, Appender]
    rules: Mapping[str, LoggerRule]

    def route(self, logger: str, level: Level) -> Sequence[Appender]:
        """Give the appenders that an event reaches, each once."""
        chain = [self.rules[name] for name in _above(logger) if name in self.rules]
        levels = [rule.level for rule in chain if rule.level is not None]
        if LEVELS[level] < (levels[0] if levels else LEVELS["ERROR"]):
            return ()
        names: dict[str, None] = {}
        for rule in chain:
            names.update(dict.fromkeys(rule.appenders))
            if not rule.is_additive:
                break
        found = [self.appenders[name] for name in names if name in self.appenders]
        return [each for each in found if LEVELS[level] >= each.level]


def _above(logger: str) -> list[str]:
    """Give a logger's name and those above it, up to the root."""
    parts = logger.split(".") if logger else []
    return [".".join(parts[:count]) for count in range(len(parts), 0, -1)] + [""]


def default_plan(log_location: Path, metrics_location: Path) -> LogPlan:
    """Give TorchServe's own plan: five files, and all of it on standard output."""
    files = {
        "access_log": (log_location, _METRIC),
        "model_log": (log_location, _FULL),
        "model_metrics": (metrics_location, _METRIC),
        "ts_log": (log_location, _FULL),
        "ts_metrics": (metrics_location, _METRIC),
    }
    appenders = {
        name: Appender(
            name=name,
            layout=make_pattern(pattern),
            path=folder / f"{name}.log",
            rolling=Rolling(
                pattern=f"{folder / name}.%d{{dd-MMM}}.log.gz",
                max_bytes=100 * _MIB,
                is_daily=True,
                max_files=5,
            ),
        )
        for name, (folder, pattern) in files.items()
    }
    appenders["STDOUT"] = Appender(name="STDOUT", layout=make_pattern(_FULL))
    info, everything = LEVELS["INFO"], LEVELS["ALL"]
    return LogPlan(
        appenders=appenders,
        rules={
            "": LoggerRule(level=info, appenders=("STDOUT", "ts_log")),
            SERVER: LoggerRule(level=LEVELS["DEBUG"], appenders=("ts_log",)),
            "ACCESS_LOG": LoggerRule(level=info, appenders=("access_log",)),
            "MODEL_LOG": LoggerRule(level=everything, appenders=("model_log",)),
            "MODEL_METRICS": LoggerRule(level=everything, appenders=("model_metrics",)),
            "TS_METRICS": LoggerRule(level=everything, appenders=("ts_metrics",)),
        },
    )
