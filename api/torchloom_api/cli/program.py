"""The `torchloom` command and its table of subcommands. Knows what none of them does."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import rich_click as click

from torchloom.errors import TorchLoomError
from torchloom_api.cli.failure import Failure


#: Subcommand → the module of this package that holds it, under the same name with `_command`.
_COMMANDS: Mapping[str, str] = {
    "serve": "serve",
    "check": "check",
    "graph": "picture",
    "run": "run",
    "index": "index",
    "compile": "compile",
    "artefacts": "artefacts",
    "torchserve": "torchserve",
    "llm-launcher": "llm_launcher",
    "dev": "dev",
    "archive": "archive",
    "workflow-archive": "workflow_archive",
    "migrate": "migrate",
    "alias": "alias",
    "workflows": "workflows",
    "models": "models",
    "devices": "devices",
    "completion": "completion",
    "version": "version",
}

_GROUPS = {
    "torchloom": [
        {"name": "Serve", "commands": ["serve", "index", "compile", "artefacts", "devices"]},
        {"name": "Write workflows", "commands": ["check", "graph"]},
        {"name": "Talk to a server", "commands": ["run", "workflows", "models"]},
        {
            "name": "From TorchServe",
            "commands": [
                *("torchserve", "llm-launcher", "dev"),
                *("archive", "workflow-archive", "migrate", "alias"),
            ],
        },
        {"name": "This program", "commands": ["completion", "version"]},
    ]
}

_EPILOG = """Exit codes: 0 done · 1 failed · 2 wrong command line · 3 a file does not pass the
checks · 4 no server answers · 5 no such workflow, model or run · 130 interrupted"""


class Program(click.RichGroup):
    """A group that imports a subcommand on first use, and shows TorchLoom's own errors."""

    def list_commands(self, ctx: click.Context) -> list[str]:  # noqa: ARG002 - click's own face
        """Name the subcommands, in the order of the table."""
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:  # noqa: ARG002
        """Import one subcommand."""
        if cmd_name not in _COMMANDS:
            return None
        module = importlib.import_module(f"torchloom_api.cli.{_COMMANDS[cmd_name]}")
        command: click.Command = getattr(module, f"{cmd_name.replace('-', '_')}_command")
        return command

    def invoke(self, ctx: click.Context) -> object:
        """Run the subcommand; an error ends it with its message, its faults and its exit code."""
        try:
            return super().invoke(ctx)
        except TorchLoomError as error:
            failure = Failure.from_error(error)
        except Failure as error:
            failure = error
        except ExceptionGroup as group:
            # Whatever runs tasks side by side wraps what they raise, however deep.
            failure = _to_failure(group)
        failure.show()
        raise SystemExit(failure.exit_code)


def _to_failure(group: ExceptionGroup[Exception]) -> Failure:
    """Show the first error of a group, if all of them are ours; else raise the group as it is."""
    ours, others = group.split(TorchLoomError)
    if ours is None or others is not None:
        raise group
    first: Exception = ours
    while isinstance(first, ExceptionGroup):
        first = first.exceptions[0]
    assert isinstance(first, TorchLoomError)
    return Failure.from_error(first)


@click.group(cls=Program, name="torchloom", epilog=_EPILOG)
@click.rich_config({"command_groups": _GROUPS, "max_width": 100})
@click.version_option(package_name="torchloom", prog_name="torchloom")
def main() -> None:
    """Serve PyTorch models, and whole GenAI pipelines made of them, from YAML."""
