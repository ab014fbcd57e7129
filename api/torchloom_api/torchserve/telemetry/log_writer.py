"""LogWriter: forms lines of events, and writes them to files and to the console.

A file that cannot be written is told on standard error, once, and tried again. Blocks while it
writes: `log_process.py` is the process where it does.
"""

from __future__ import annotations

import os
import select
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol, Self

from torchloom_api.torchserve.telemetry.log_batch import AnyEvent
from torchloom_api.torchserve.telemetry.log_layout import Layout, Level, LogEvent
from torchloom_api.torchserve.telemetry.log_plan import Appender, LogPlan
from torchloom_api.torchserve.telemetry.notice import tell_operator
from torchloom_api.torchserve.telemetry.rolling_file import RollingFile


#: After so many events whoever waits for the core goes first. Linux lets a process finish its slice
#: of 3 ms, however nice it is, which one request in a hundred had to wait for.
_PORTION: Final = 16

#: How many routes are remembered.
_MAX_ROUTES: Final = 10_000

#: How much is put into a pipe at once: so much goes in whole, where poll says that there is room.
_PIPE_BYTES: Final = 4096

#: How long a console that takes nothing is waited for, the first time.
_CONSOLE_S: Final = 1.0

#: A file that could not be written is not tried before this long.
_RETRY_S: Final = 5.0


class Sink(Protocol):
    """Where lines end."""

    def open(self) -> None:
        """Make it ready, and empty if it was not there. Raises OSError."""
        ...

    def write(self, data: bytes) -> None:
        """Write whole lines. Raises OSError."""
        ...

    def close(self) -> None:
        """Let go of it."""
        ...


class ConsoleSink:
    """A descriptor that somebody may read slowly, or not at all: then lines are left out."""

    def __init__(self, descriptor: int, *, patience_s: float = _CONSOLE_S) -> None:
        self._descriptor = descriptor
        self._patience_s = patience_s
        self._is_stuck = False
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def open(self) -> None:
        """Do nothing: it is open."""

    def write(self, data: bytes) -> None:
        """Write as much as is taken; the rest is left out, by whole pieces."""
        for start in range(0, len(data), _PIPE_BYTES):
            patience_s = 0.0 if self._is_stuck else self._patience_s
            self._is_stuck = not self._poll.poll(patience_s * 1000)
            if self._is_stuck:
                return
            os.write(self._descriptor, data[start : start + _PIPE_BYTES])

    def close(self) -> None:
        """Leave it open: it is the process's."""


@dataclass(slots=True)
class _Place:
    """A sink, what waits for it, and until when it is not tried again."""

    name: str
    sink: Sink
    lines: list[str]
    rests_until: float = 0.0
    is_told: bool = False


class LogWriter:
    """Writes by a plan; use it as a context."""

    def __init__(self, plan: LogPlan) -> None:
        self._plan = plan
        self._routes: dict[tuple[str, Level], Sequence[tuple[Layout, _Place]]] = {}
        self._places = _make_places(plan.appenders)

    def __enter__(self) -> Self:
        """Make the files, empty ones as well."""
        for place in self._places.values():
            self._try(place, place.sink.open)
        return self

    def __exit__(self, *error: object) -> None:
        """Close all files."""
        for place in self._places.values():
            place.sink.close()

    def write(self, events: Sequence[AnyEvent], *, num_lost: int = 0) -> None:
        """Write events, each place's lines together, and tell how many were left out before."""
        for number, event in enumerate(events):
            if not number % _PORTION:
                os.sched_yield()
            if isinstance(event, LogEvent):
                for layout, place in self._route(event):
                    place.lines.append(layout(event))
                continue
            alike, messages = event.to_event(), event.messages()
            for layout, place in self._route(alike):
                place.lines.append(layout.write_all(alike, messages))
        if num_lost:
            tell_operator(f"{num_lost} lines of the log came too fast, and are left out.")
        for place in self._places.values():
            if place.lines:
                lines, place.lines = place.lines, []
                self._write_to(place, lines)

    def _write_to(self, place: _Place, lines: Sequence[str]) -> None:
        if time.monotonic() >= place.rests_until:
            data = "".join(lines).encode("utf-8", "replace")
            self._try(place, lambda: place.sink.write(data))

    def _try(self, place: _Place, do: Callable[[], None]) -> None:
        try:
            do()
        except OSError as error:
            place.rests_until = time.monotonic() + _RETRY_S
            if not place.is_told:
                place.is_told = True
                tell_operator(
                    f"The log {place.name} cannot be written: {error}. It is tried again."
                )
        else:
            place.is_told = False

    def _route(self, event: LogEvent) -> Sequence[tuple[Layout, _Place]]:
        key = (event.logger, event.level)
        found = self._routes.get(key)
        if found is None:
            appenders = self._plan.route(event.logger, event.level)
            found = [(each.layout, self._places[each.name]) for each in appenders]
            if len(self._routes) < _MAX_ROUTES:
                self._routes[key] = found
        return found


def _make_places(appenders: Mapping[str, Appender]) -> dict[str, _Place]:
    """Make the places of all appenders; two of one file share its sink."""
    places: dict[str, _Place] = {}
    files: dict[str, Sink] = {}
    for name, appender in appenders.items():
        if appender.path is None:
            sink: Sink = ConsoleSink(sys.__stdout__.fileno() if sys.__stdout__ else 1)
        else:
            key = str(appender.path.absolute())
            sink = files.setdefault(key, RollingFile(appender.path, appender.rolling))
        places[name] = _Place(name=str(appender.path or "on standard output"), sink=sink, lines=[])
    return places
