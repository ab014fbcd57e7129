"""`torchloom completion`: prints or installs the shell's completion. Knows what click can make."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path

import rich_click as click
from click.shell_completion import get_completion_class

from torchloom_api.cli.failure import Failure
from torchloom_api.cli.screen import error_screen


_VARIABLE = "_TORCHLOOM_COMPLETE"


def _fish_file() -> Path:
    config = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return Path(config) / "fish" / "completions" / "torchloom.fish"


def _script_file(shell: str) -> Path:
    data = os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share"
    if shell == "bash":
        return Path(data) / "bash-completion" / "completions" / "torchloom"
    return Path(data) / "zsh" / "site-functions" / "_torchloom"


_FILES: Mapping[str, Callable[[], Path]] = {
    "bash": lambda: _script_file("bash"),
    "zsh": lambda: _script_file("zsh"),
    "fish": _fish_file,
}


@click.command("completion")
@click.argument("shell", required=False, type=click.Choice(sorted(_FILES)))
@click.option("--install", is_flag=True, help="Write it where the shell looks for it.")
def completion_command(shell: str | None, *, install: bool) -> None:
    """Print the completion script of a shell (yours, unless named), or install it.

    To try it in the shell you are in:  eval "$(torchloom completion)"
    """
    name = shell or Path(os.environ.get("SHELL", "bash")).name
    if name not in _FILES:
        message = f"There is no completion for the shell {name!r}. Name one of: bash, fish, zsh."
        raise Failure(message)
    script = _make_script(name)
    if not install:
        click.echo(script)
        return
    file = _FILES[name]()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(script)
    error_screen.print(f"Written to {file}. New {name} shells complete `torchloom`.")
    if name == "zsh":
        error_screen.print(f"~/.zshrc needs, before compinit:  fpath+=({file.parent})")


def _make_script(shell: str) -> str:
    from torchloom_api.cli.program import main  # noqa: PLC0415 - main imports this module

    maker = get_completion_class(shell)
    assert maker is not None
    return maker(main, {}, "torchloom", _VARIABLE).source()
