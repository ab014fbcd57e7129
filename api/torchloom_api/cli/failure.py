"""Failure: an error as the terminal shows it, with its exit code. Knows no server."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Self

from rich.markup import escape

from torchloom.errors import (
    Fault,
    InvalidModel,
    InvalidWorkflow,
    TorchLoomError,
    UnknownModel,
    UnknownRun,
    UnknownWorkflow,
)
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.screen import error_screen


_NOT_FOUND = (UnknownModel, UnknownRun, UnknownWorkflow)
_INVALID = (InvalidModel, InvalidWorkflow)


class Failure(Exception):
    """Ends the command: the message, then one line for each fault, then the exit code."""

    def __init__(
        self,
        message: str,
        *,
        code: ExitCode = ExitCode.FAILED,
        faults: Iterable[str] = (),
    ) -> None:
        super().__init__(message)
        self.message = message
        self.exit_code = code
        self.faults = tuple(faults)

    @classmethod
    def from_error(cls, error: TorchLoomError) -> Self:
        """Show an error of the core; faults keep their file, line and column."""
        code = ExitCode.FAILED
        if isinstance(error, _NOT_FOUND):
            code = ExitCode.NOT_FOUND
        elif isinstance(error, _INVALID):
            code = ExitCode.INVALID_FILE
        faults = [str(fault) for fault in error.faults]
        return cls(error.message, code=code, faults=[f for f in faults if f != error.message])

    @classmethod
    def from_problem(cls, status: int, problem: Mapping[str, object], *, file: str = "") -> Self:
        """Show a problem document (RFC 9457) that a server answered with.

        `file` is the caller's name of the document that the faults speak of.
        """
        codes = {404: ExitCode.NOT_FOUND, 422: ExitCode.INVALID_FILE if file else ExitCode.FAILED}
        title, detail = str(problem.get("title", "")), str(problem.get("detail", ""))
        errors = problem.get("errors", ())
        faults = [_to_line(e, file) for e in errors] if isinstance(errors, list) else []
        message = detail or title or f"The server answered with status {status}."
        return cls(
            message, code=codes.get(status, ExitCode.FAILED), faults=[f for f in faults if f]
        )

    def show(self) -> None:
        """Print to standard error, in red where it can show colours."""
        error_screen.print(
            f"[bold red]Error:[/] {escape(self.message)}", highlight=False, soft_wrap=True
        )
        for fault in self.faults:
            error_screen.print(f"  {escape(fault)}", highlight=False, soft_wrap=True)


def _to_line(error: object, file: str) -> str:
    if not isinstance(error, dict):
        return ""
    line, column, pointer = (error.get(key) for key in ("line", "column", "pointer"))
    message = str(error.get("message", ""))
    if not line and pointer:
        return f"{pointer}: {message}"
    fault = Fault(
        message=message,
        file=file or error.get("file"),
        line=line if isinstance(line, int) else None,
        column=column if isinstance(column, int) else None,
    )
    return str(fault)
