"""How long a stage of training takes, how far it is, and what it shows.

Owns the clock, the progress bar and the course of the learning rate. Knows nothing of models.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from time import monotonic
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)


#: Seconds between two lines where no bar can be drawn, as in a log file.
LINE_EVERY_S = 30.0
#: Steps between two losses that a GPU is asked for: asking for each would keep it waiting.
TELL_EVERY = 10


class Clock:
    """Counts the steps of a stage, which ends after `num_steps`, or after `minutes` if given."""

    def __init__(
        self,
        name: str,
        *,
        num_steps: int,
        minutes: float = 0.0,
        console: Console | None = None,
        time: Callable[[], float] = monotonic,
    ) -> None:
        self.num_steps = num_steps
        self.minutes = minutes
        self.step = 0
        self.loss = math.nan
        self._name = name
        self._time = time
        self._started = time()
        self._printed = 0.0
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.fields[note]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=console,
        )
        self._bar = self._progress.add_task(name, total=1.0, note="")

    def __enter__(self) -> Self:
        """Show the bar."""
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Take the bar away."""
        self._progress.stop()

    @property
    def spent_s(self) -> float:
        """Seconds since the start."""
        return self._time() - self._started

    @property
    def done(self) -> float:
        """How much of the stage is done, 0 to 1."""
        share = self.spent_s / 60 / self.minutes if self.minutes else self.step / self.num_steps
        return min(share, 1.0)

    def tick(self) -> bool:
        """Begin the next step; False when the stage is over."""
        if self.done >= 1.0:
            return False
        self.step += 1
        return True

    def tell(self, loss: float) -> None:
        """Show the smoothed loss, with that of the step."""
        self.loss = loss if math.isnan(self.loss) else 0.98 * self.loss + 0.02 * loss
        note = f"step {self.step}, loss {self.loss:.4f}"
        self._progress.update(self._bar, completed=self.done, note=note)
        if not self._progress.console.is_terminal and self.spent_s > self._printed + LINE_EVERY_S:
            self._printed = self.spent_s
            self.say(f"{self.spent_s / 60:.1f} min: {note}")

    def say(self, line: str) -> None:
        """Print a line above the bar."""
        self._progress.console.print(f"{self._name}: {line}", markup=False, highlight=False)


def cosine(done: float) -> float:
    """Scale the rate: a short rise, then a fall along half a cosine to a fiftieth."""
    if done < 0.02:
        return max(done / 0.02, 0.01)
    return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * (done - 0.02) / 0.98))
