"""`torchloom index`: which index is meant, and what is said where there is none."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.index_job import IndexJob


MODELS = """\
name: search
models:
  small: {kind: embedder, source: one}
  large: {kind: embedder, source: two}
  pages: {kind: index, source: pages.index, embedder: large, documents: pages}
  notes: {kind: index, source: notes.index}
inputs: {text: {type: string}}
nodes:
  embed: {model: large, inputs: {text: "{{ inputs.text }}"}}
  found: {model: pages, inputs: {vector: "{{ embed.embedding }}"}}
outputs: {documents: "{{ found.documents }}"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file with two indexes and two embedders."""
    file = tmp_path / "search.yaml"
    file.write_text(MODELS)
    return file


def test_takes_the_embedder_that_the_index_names(file: Path) -> None:
    """An index and its embedder belong together: the file says which."""
    job = IndexJob.find(file, "pages", ())
    assert job.embedder is not None
    assert (job.name, job.embedder.name) == ("pages", "large")
    assert job.place == str(file.parent / "pages.index")


def test_takes_the_embedder_of_the_command_line_first(file: Path) -> None:
    """What the user names wins over the file."""
    job = IndexJob.find(file, "pages", (), embedder="small")
    assert job.embedder is not None
    assert job.embedder.name == "small"


def test_asks_which_index_where_there_are_several(file: Path) -> None:
    """With two indexes and no name there is no choice to make."""
    with pytest.raises(Failure, match="name one of: pages, notes"):
        IndexJob.find(file, None, ())


def test_suggests_the_nearest_name(file: Path) -> None:
    """A mistyped name gets the one that is meant."""
    with pytest.raises(Failure, match="Did you mean 'pages'"):
        IndexJob.find(file, "page", ())


def test_asks_for_an_embedder_where_none_is_named(file: Path, tmp_path: Path) -> None:
    """With two embedders and an index that names none, the build says what to write."""
    (tmp_path / "note.md").write_text("A note.")
    words = ["index", "build", str(file), "--index=notes", "--documents", str(tmp_path / "note.md")]
    result = CliRunner().invoke(main, words)
    assert result.exit_code == ExitCode.FAILED
    assert "--embedder" in result.stderr


def test_says_how_to_build_an_index_that_is_not_there(file: Path) -> None:
    """Describing what was never built names the command that builds it."""
    result = CliRunner().invoke(main, ["index", "info", str(file), "--index=pages"])
    assert result.exit_code == ExitCode.FAILED
    assert "torchloom index build" in result.stderr
    assert "Traceback" not in result.output
