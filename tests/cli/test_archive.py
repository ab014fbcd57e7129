"""`torchloom archive` and `torchloom workflow-archive`: options, messages and exit codes."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest


PROGRAM = [sys.executable, "-m", "torchloom_api.cli"]
WORDS = ["--model-name", "m", "--version", "1.0", "--handler", "h.py"]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give a folder with a handler and a specification."""
    (tmp_path / "h.py").write_text("def handle(data, context): ...\n")
    (tmp_path / "spec.yaml").write_text("models: {}\n")
    return tmp_path


def _call(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [*PROGRAM, *words], cwd=folder, capture_output=True, text=True, check=False
    )


def test_writes_an_archive_and_says_nothing(folder: Path) -> None:
    """A success has the exit code 0 and no output, as scripts are used to."""
    done = _call(folder, "archive", *WORDS)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert (folder / "m.mar").exists()


def test_takes_shortened_options(folder: Path) -> None:
    """Argparse completes what is clear: users write --model and --ver."""
    done = _call(folder, "archive", "--model-n", "m", "-v", "2", "--hand", "h.py", "-f")
    assert done.returncode == 0, done.stderr
    assert b'"modelVersion": "2"' in zipfile.ZipFile(folder / "m.mar").read("MAR-INF/MANIFEST.json")


def test_fails_with_the_reason_on_standard_error(folder: Path) -> None:
    """What cannot be done is `ERROR - …`, the exit code 1 and no trace."""
    done = _call(folder, "archive", *WORDS[:-1], "nope.py")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "ERROR - File does not exist: nope.py\n"


def test_warns_on_standard_error(folder: Path) -> None:
    """Warnings begin with their level, as torch-model-archiver's do."""
    _call(folder, "archive", *WORDS)
    done = _call(folder, "archive", *WORDS, "--force")
    assert done.returncode == 0
    assert done.stderr == f"WARNING - Overwriting {folder.resolve()}/m.mar ...\n"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["archive", *WORDS[:4]], "the following arguments are required: --handler"),
        (["archive", *WORDS, "--runtime", "java"], "argument --runtime: invalid choice: 'java'"),
        (["archive", *WORDS, "--convert"], "unrecognized arguments: --convert"),
        (["workflow-archive", "--workflow-name", "w"], "are required: --spec-file"),
    ],
)
def test_shows_its_usage_for_a_wrong_command_line(
    folder: Path, words: list[str], says: str
) -> None:
    """Argparse's usage, and its exit code 2."""
    done = _call(folder, *words)
    assert done.returncode == 2
    assert done.stderr.startswith(f"usage: torchloom {words[0]}")
    assert says in done.stderr


def test_tells_its_options(folder: Path) -> None:
    """--help is argparse's too, on standard output."""
    done = _call(folder, "archive", "--help")
    assert done.returncode == 0
    assert "--requirements-file" in done.stdout


def test_writes_a_workflows_archive(folder: Path) -> None:
    """The same manners for .war files."""
    words = ["workflow-archive", "--workflow-name", "w", "--spec-file", "spec.yaml"]
    assert _call(folder, *words, "--handler", "h.py").returncode == 0
    assert (folder / "w.war").exists()
    done = _call(folder, *words)
    assert done.returncode == 1
    assert done.stderr.startswith(f"ERROR - {folder.resolve()}/w.war already exists.")
