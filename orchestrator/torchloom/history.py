"""History: the runs that can be looked up, the newest first. Knows nothing of what a run does."""

from __future__ import annotations

from collections import OrderedDict
from itertools import islice

from torchloom.errors import UnknownRun
from torchloom.run import Run


class History:
    """Bounded: the oldest run that is over is forgotten first; runs in progress never are."""

    def __init__(self, max_size: int) -> None:
        self._max_size = max_size
        #: Ordered: a dict goes past all places at its front that have become empty.
        self._runs: OrderedDict[str, Run] = OrderedDict()

    def add(self, run: Run) -> None:
        """Take a run in, and forget what is too old."""
        self._runs[run.id] = run
        surplus = len(self._runs) - self._max_size
        if surplus > 0:
            over = (r.id for r in self._runs.values() if r.is_over)
            for run_id in list(islice(over, surplus)):
                del self._runs[run_id]

    def get(self, run_id: str) -> Run:
        """Give a run; raises UnknownRun."""
        try:
            return self._runs[run_id]
        except KeyError:
            message = f"There is no run {run_id!r}, or it has left the history."
            raise UnknownRun(message) from None

    def runs(self) -> list[Run]:
        """List the runs, the newest first."""
        return list(reversed(self._runs.values()))

    def in_progress(self) -> list[Run]:
        """List the runs that are not over."""
        return [run for run in self._runs.values() if not run.is_over]
