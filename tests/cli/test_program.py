"""The command as a whole: what it imports, what it says, how it ends."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from torchloom.errors import Fault, InvalidWorkflow, UnknownModel
from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.program import Program


ROOT = Path(__file__).parents[2]


def test_imports_nothing_heavy_for_its_help() -> None:
    """`torchloom --help` is instant: what takes time to import is imported by who needs it."""
    heavy = "{'torch', 'transformers', 'litestar', 'httpx', 'qdrant_edge', 'networkx', 'numpy'}"
    code = (
        "import sys; from torchloom_api.cli import main; main(['--help'], standalone_mode=False); "
        f"print(sorted({heavy} & set(sys.modules)), file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr == "[]\n"


def test_describes_every_command_in_its_help() -> None:
    """Each subcommand has a sentence, and the help lists the exit codes."""
    printed = CliRunner().invoke(main, ["--help"]).stdout
    assert isinstance(main, Program)
    for name in main.list_commands(click.Context(main)):
        assert name in printed
        command = main.get_command(click.Context(main), name)
        assert command is not None
        assert command.get_short_help_str()
    assert "130" in printed


def test_is_described_in_the_docs() -> None:
    """docs/cli.md names every command and every exit code."""
    page = (ROOT / "docs" / "cli.md").read_text()
    assert isinstance(main, Program)
    for name in main.list_commands(click.Context(main)):
        assert f"`torchloom {name}" in page
    for code in ExitCode:
        assert f"| {code.value} |" in page


def test_refuses_an_unknown_command() -> None:
    """A wrong command line ends with click's own code 2."""
    assert CliRunner().invoke(main, ["sreve"]).exit_code == ExitCode.USAGE


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> list[Exception]:
    """Give a list: the command `version` raises what is put there."""
    errors: list[Exception] = []

    def fail(*, as_json: bool) -> None:
        raise errors[0] if errors else AssertionError(as_json)

    monkeypatch.setattr("torchloom_api.cli.version.version_command.callback", fail)
    return errors


def test_shows_an_error_of_the_core_without_a_trace(failing: list[Exception]) -> None:
    """An unknown model is one line and an exit code, not a traceback."""
    failing.append(UnknownModel("There is no model 'lama'."))
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "There is no model 'lama'." in result.stderr
    assert "Traceback" not in result.output


def test_shows_the_first_of_several_errors(failing: list[Exception]) -> None:
    """Errors of tasks that ran side by side come as a group, and are shown like any other."""
    inner = ExceptionGroup("inner", [UnknownModel("There is no model 'lama'.")])
    failing.append(ExceptionGroup("outer", [inner]))
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "There is no model 'lama'." in result.stderr


def test_hides_no_error_that_is_not_its_own(failing: list[Exception]) -> None:
    """A group with an unknown error in it is a bug, and keeps its trace."""
    failing.append(ExceptionGroup("mixed", [UnknownModel("none"), RuntimeError("bug")]))
    result = CliRunner().invoke(main, ["version"])
    assert isinstance(result.exception, ExceptionGroup)


def test_shows_every_fault_with_its_place(failing: list[Exception]) -> None:
    """A file that does not pass the checks gives a line for each fault, and exit code 3."""
    faults = [
        Fault(message="Unknown key 'modle'.", file="rag.yaml", line=3, column=5),
        Fault(message="Unknown node 'qeury'.", file="rag.yaml", line=9, column=11),
    ]
    failing.append(InvalidWorkflow("rag.yaml: 2 faults", faults=faults))
    result = CliRunner().invoke(main, ["version"])
    assert result.exit_code == ExitCode.INVALID_FILE
    assert "rag.yaml:3:5: Unknown key 'modle'." in result.stderr
    assert "rag.yaml:9:11: Unknown node 'qeury'." in result.stderr
