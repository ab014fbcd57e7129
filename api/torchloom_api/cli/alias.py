"""`torchloom alias`: TorchServe's commands under their old names, on and off."""

from __future__ import annotations

import sys
import sysconfig
from pathlib import Path

import rich_click as click

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.old_name import OldName, old_names
from torchloom_api.cli.screen import error_screen, print_table


_FOLDER = click.Path(file_okay=False, path_type=Path)


@click.group("alias")
def alias_command() -> None:
    """Have torchserve, torch-model-archiver and the like under their old names."""


def _find(scripts: Path | None, packages: Path | None) -> list[OldName]:
    return old_names(
        scripts=scripts or Path(sysconfig.get_path("scripts")),
        packages=packages or Path(sysconfig.get_path("purelib")),
        python=sys.executable,
    )


@alias_command.command("install")
@click.option("--scripts", type=_FOLDER, help="Folder of commands.  [default: this Python's]")
@click.option("--packages", type=_FOLDER, help="Folder of packages.  [default: this Python's]")
def install(*, scripts: Path | None, packages: Path | None) -> None:
    """Write the names that nobody else has; ends with 1 if any belongs to another."""
    reasons = [reason for name in _find(scripts, packages) if (reason := name.install())]
    for reason in reasons:
        error_screen.print(reason, markup=False, highlight=False, soft_wrap=True)
    raise SystemExit(ExitCode.FAILED if reasons else ExitCode.OK)


@alias_command.command("remove")
@click.option("--scripts", type=_FOLDER, help="As for install.")
@click.option("--packages", type=_FOLDER, help="As for install.")
def remove(*, scripts: Path | None, packages: Path | None) -> None:
    """Remove the names that lead here; what belongs to others stays."""
    for name in _find(scripts, packages):
        name.remove()


@alias_command.command("list")
@click.option("--scripts", type=_FOLDER, help="As for install.")
@click.option("--packages", type=_FOLDER, help="As for install.")
def list_names(*, scripts: Path | None, packages: Path | None) -> None:
    """Tell where each name leads: here, nowhere (free), or to another program."""
    names = _find(scripts, packages)
    print_table(("name", "leads to"), [(name.name, name.state) for name in names])
