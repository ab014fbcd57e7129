"""LoadingBoard: a bar for each model while it loads, compiles and warms up. Knows no model."""

from __future__ import annotations

from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import TaskID

from torchloom_api.cli.screen import error_screen, make_bar


class LoadingBoard:
    """Shows how loading goes: bars on a terminal, a line for each new step elsewhere."""

    def __init__(self, console: Console = error_screen) -> None:
        self._console = console
        self._bar = make_bar(console)
        self._rows: dict[str, TaskID] = {}
        self._doing: dict[str, str] = {}

    def __enter__(self) -> Self:
        """Show the bars."""
        if self._console.is_terminal:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Leave the bars as they are."""
        self._stop()

    def report(self, model: str, doing: str, fraction: float | None) -> None:
        """Tell what is being done for a model, and how much of it is done (0 to 1), where known."""
        if self._console.is_terminal:
            self._show_bar(model, doing, fraction)
        elif self._doing.get(model) != doing:
            self._console.print(f"{model}: {doing}", markup=False, highlight=False)
        self._doing[model] = doing

    def finish(self) -> None:
        """Tell that every model is ready, and leave the bars."""
        for model in list(self._doing):
            self.report(model, "ready", 1.0)
        self._stop()

    def _stop(self) -> None:
        if self._console.is_terminal:
            self._bar.stop()

    def _show_bar(self, model: str, doing: str, fraction: float | None) -> None:
        row = self._rows.get(model)
        if row is None:
            row = self._rows[model] = self._bar.add_task(model, doing=doing, total=None)
        total = None if fraction is None else 1.0
        self._bar.update(row, doing=doing, total=total, completed=fraction or 0.0)
