"""`torchloom check`: every fault of workflow and model files. Imports no framework.

What this machine lacks is no fault: a file may be checked elsewhere than it serves.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.screen import print_json, screen


if TYPE_CHECKING:
    from torchloom.device import Device
    from torchloom.errors import Fault


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("check")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that files may name.")
@click.option("--json", "as_json", is_flag=True, help="Print faults and warnings as JSON.")
def check_command(*, files: tuple[Path, ...], functions: tuple[str, ...], as_json: bool) -> None:
    """Check workflow and model FILES together, without loading a model.

    Prints every fault as file:line:column: message, and ends with 3 if there is any. A device that
    this machine lacks is a warning: the files may be served elsewhere.
    """
    from torchloom_api.cli.shelf import Shelf  # noqa: PLC0415 - not needed for --help

    shelf = Shelf.read(files, functions=functions)
    warnings = _find_missing(shelf.named)
    if as_json:
        faults = [{**asdict(fault), "severity": "error"} for fault in shelf.faults]
        print_json([*faults, *({**asdict(each), "severity": "warning"} for each in warnings)])
    else:
        for fault in (*shelf.faults, *(_as_warning(each) for each in warnings)):
            screen.print(str(fault), markup=False, highlight=False, soft_wrap=True)
        if not shelf.faults:
            found = [f"workflow {graph.label}" for graph in shelf.workflows.values()]
            found += [f"model {model.label}" for model in shelf.models]
            screen.print(f"[green]ok[/]: {', '.join(found)}", highlight=False, soft_wrap=True)
    raise SystemExit(ExitCode.INVALID_FILE if shelf.faults else ExitCode.OK)


def _find_missing(named: Sequence[tuple[Device, Fault]]) -> list[Fault]:
    """Find the devices that are not on this machine; looks only where there is more than a CPU."""
    if all(device.kind == "cpu" for device, _ in named):
        return []
    from torchloom_api.machine import find_devices, is_there  # noqa: PLC0415 - not for --help

    found = asyncio.run(find_devices())
    there = ", ".join(each.device for each in found)
    return [
        replace(
            place,
            message=(
                f"there is no device {str(device)!r} on this machine, which has {there}; a model "
                "that names it does not start here."
            ),
        )
        for device, place in named
        if not is_there(device, found)
    ]


def _as_warning(fault: Fault) -> Fault:
    return replace(fault, message=f"warning: {fault.message}")
