"""`torchloom check`: every fault of workflow and model files. Imports no framework."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import rich_click as click

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.screen import print_json, screen


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that files may name.")
@click.option("--json", "as_json", is_flag=True, help="Print the faults as JSON.")
def check_command(*, files: tuple[Path, ...], functions: tuple[str, ...], as_json: bool) -> None:
    """Check workflow and model FILES together, without loading a model.

    Prints every fault as file:line:column: message, and ends with 3 if there is any.
    """
    from torchloom_api.cli.shelf import Shelf  # noqa: PLC0415 - not needed for --help

    shelf = Shelf.read(files, functions=functions)
    if as_json:
        print_json([asdict(fault) for fault in shelf.faults])
    else:
        for fault in shelf.faults:
            screen.print(str(fault), markup=False, highlight=False, soft_wrap=True)
        if not shelf.faults:
            found = [f"workflow {graph.label}" for graph in shelf.workflows.values()]
            found += [f"model {model.label}" for model in shelf.models]
            screen.print(f"[green]ok[/]: {', '.join(found)}", highlight=False, soft_wrap=True)
    raise SystemExit(ExitCode.INVALID_FILE if shelf.faults else ExitCode.OK)
