"""Commands whose options are argparse's, because TorchServe's users rely on how that reads them.

Options may be shortened there, and messages and exit codes are its own. Knows no command.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence

import rich_click as click


#: Reads arguments, does the work, and gives the exit code. `prog` is the name that usage shows.
Main = Callable[[Sequence[str], str], int]


def make_command(name: str, main: Main, *, summary: str) -> click.Command:
    """Make a command that hands all of its words on to `main`, `--help` included."""

    @click.command(
        name,
        help=summary,
        add_help_option=False,
        context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False},
    )
    @click.argument("words", nargs=-1, type=click.UNPROCESSED)
    def command(*, words: tuple[str, ...]) -> None:
        sys.exit(main(words, f"torchloom {name}"))

    return command
