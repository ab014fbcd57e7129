"""Race: opens a model on several devices, and lets them take turns at the same tasks.

Run as `python -m torchloom_models.race FD` it is the process of a trial (see `trial.py`), which it
talks to over the socket that it inherits. Knows no kind of model.
"""

from __future__ import annotations

import contextlib
import faulthandler
import logging
import pkgutil
import signal
import socket
import statistics
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self, cast

import torch

from torchloom import huge_pages
from torchloom.device import Device
from torchloom.engine import Engine, Failure, Result, Work
from torchloom.errors import InvalidModel, ModelLoadError, TorchLoomError
from torchloom.wire import to_error
from torchloom_models.child import leave_with_parent
from torchloom_models.finding import FindingStore
from torchloom_models.trial import At, Failed, Line, Lost, Message, Order, Over, Told
from torchloom_models.watch import watching


if TYPE_CHECKING:
    from torchloom_models.opening import NotedEngine, Opening

_log = logging.getLogger(__name__)

#: Each device runs the tasks once unmeasured, and then so many times.
_ROUNDS = 7

#: Another race is waited for no longer than this: it may hang.
_MAX_WAIT_S = 600.0

#: Gives the seconds that an engine takes for tasks.
Measure = Callable[[Engine, Sequence[Work]], float]


def run_together(engine: Engine, works: Sequence[Work]) -> float:
    """Give the seconds that an engine takes for tasks, all in one batch, whatever their steps.

    Raises ModelLoadError where one of them fails.
    """
    for work in works:
        engine.admit(work)
    num_left = len(works)
    started = time.perf_counter()
    while num_left:
        for event in engine.step():
            if isinstance(event, Failure):
                message = f"The warm-up on {engine.device} failed: {event.error.message}"
                raise ModelLoadError(message)
            num_left -= isinstance(event, Result)
    return time.perf_counter() - started


class Race:
    """Tells how it goes. Whoever does not open the model, or fails its tasks, drops out.

    The end of the block closes all engines.
    """

    def __init__(
        self,
        *,
        open_on: Callable[[Device], Engine],
        works: Sequence[Work],
        measure: Measure,
        findings: FindingStore,
        tell: Callable[[Message], None],
    ) -> None:
        self._open_on = open_on
        self._works = works
        self._measure = measure
        self._findings = findings
        self._tell = tell
        self._closing = contextlib.ExitStack()
        #: Those that are left.
        self.engines: dict[str, Engine] = {}

    def __enter__(self) -> Self:
        """Give the race."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Close every engine."""
        self._closing.close()

    def open(self, devices: Sequence[Device]) -> None:
        """Open all of them. Raises InvalidModel, which no device can mend."""
        for device in devices:
            with self._dropping_out(str(device)):
                engine = self._open_on(device)
                self._closing.callback(engine.close)
                self.engines[str(device)] = engine
        huge_pages.gather()  # as a worker does: who opened first would have the slower memory

    def run(self) -> dict[str, float]:
        """Give each engine's median in seconds; they take turns: what disturbs disturbs all.

        No two races of this machine are timed at once.
        """
        taken: dict[str, list[float]] = {device: [] for device in self.engines}
        with self._findings.lock("timing", on_wait=self._tell_wait, max_wait_s=_MAX_WAIT_S):
            for number in range(1 + _ROUNDS):
                self._tell(Told(f"measuring {', '.join(self.engines)}", number / (1 + _ROUNDS)))
                for device, engine in list(self.engines.items()):
                    with self._dropping_out(device):
                        taken[device].append(self._measure(engine, self._works))
        return {device: statistics.median(taken[device][1:]) for device in self.engines}

    @contextlib.contextmanager
    def _dropping_out(self, device: str) -> Iterator[None]:
        self._tell(At(device))
        try:
            yield
        except InvalidModel:
            raise
        except TorchLoomError as error:
            self._drop(device, error)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; others go on
            _log.exception("The model does not run on %s.", device)
            self._drop(device, ModelLoadError(f"{type(error).__name__}: {error}"))

    def _drop(self, device: str, error: TorchLoomError) -> None:
        self.engines.pop(device, None)
        self._tell(Lost(device, to_error(error)))

    def _tell_wait(self) -> None:
        self._tell(Told("waiting until another model is measured", None))


def hold(order: Order, line: Line) -> None:
    """Hold the race that a worker has ordered, and tell it what comes of it."""

    def report(what: str, fraction: float | None) -> None:
        line.send(Told(what, fraction))

    torch.set_num_threads(order.threads)
    make = cast("type[Opening[NotedEngine]]", pkgutil.resolve_name(order.opening))
    devices = [Device.parse(name) for name in order.candidates]
    try:
        opening = make(order.config, report)
        with watching() as callables, opening.race(line.send) as race:
            race.open(devices)
            figures = race.run() if len(devices) > 1 and race.engines else {}
            over = Over(
                left=list(race.engines),
                figures=figures,
                dtype=opening.dtype,
                pieces=[piece for each in callables for piece in each.pieces],
                failures=[reason for each in callables for reason in each.failures],
            )
            line.send(over)
    except TorchLoomError as error:
        line.send(Failed(to_error(error)))


def _be_the_first_to_go() -> None:
    """Where memory runs out, let the system end this process before any that serves (Linux)."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("1000", encoding="ascii")


def main(descriptor: int) -> None:
    """Serve the worker at the other end of the inherited socket."""
    leave_with_parent()
    _be_the_first_to_go()
    # These reach the whole process group: it ends when its worker does. No SIG_IGN, which what it
    # starts would inherit.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: None)
    faulthandler.enable()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s trial: %(message)s")
    with socket.socket(fileno=descriptor) as connection:
        connection.set_inheritable(False)
        line = Line(connection)
        order = line.receive()
        if isinstance(order, Order):
            hold(order, line)


if __name__ == "__main__":
    main(int(sys.argv[1]))
