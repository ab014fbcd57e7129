"""Shell completion: the script, and where it is put."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_prints_the_script_of_a_shell(shell: str) -> None:
    """Each script asks the command itself what may follow."""
    result = CliRunner().invoke(main, ["completion", shell])
    assert result.exit_code == ExitCode.OK
    assert f"_TORCHLOOM_COMPLETE={shell}_complete" in result.stdout


def test_completes_a_command() -> None:
    """What the script asks for gives the commands that begin so."""
    environment = {
        **os.environ,
        "_TORCHLOOM_COMPLETE": "bash_complete",
        "COMP_WORDS": "torchloom se",
        "COMP_CWORD": "1",
    }
    command = [str(Path(sys.executable).parent / "torchloom")]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "plain,serve\n"


def test_installs_where_the_shell_looks(tmp_path: Path) -> None:
    """--install writes below the user's own data folder."""
    result = CliRunner().invoke(
        main, ["completion", "bash", "--install"], env={"XDG_DATA_HOME": str(tmp_path)}
    )
    assert result.exit_code == ExitCode.OK
    script = (tmp_path / "bash-completion" / "completions" / "torchloom").read_text()
    assert "_TORCHLOOM_COMPLETE=bash_complete" in script


def test_says_which_shells_it_knows() -> None:
    """A shell without completion is named, with those that have it."""
    result = CliRunner().invoke(main, ["completion"], env={"SHELL": "/bin/tcsh"})
    assert result.exit_code == ExitCode.FAILED
    assert "'tcsh'" in result.stderr
    assert "bash, fish, zsh" in result.stderr
