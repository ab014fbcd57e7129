"""`torchloom migrate`: what it prints, writes and refuses."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from torchloom_api.cli import main
from torchloom_models.archive.archiver import ModelArchiverConfig, write_model_archive


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a model store with one archive, and work beside it."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").write_text("")
    (tmp_path / "store").mkdir()
    write_model_archive(ModelArchiverConfig("noop", "h.py", "1.0", export_path="store"))
    return tmp_path / "store"


def test_writes_files_and_tells_what_is_lost(store: Path) -> None:
    """Written files are the answer, notes go to standard error."""
    (store.parent / "c").write_text("model_store=store\nvmargs=-Xmx1g\n")
    result = CliRunner().invoke(main, ["migrate", "--ts-config", "c", "-o", "new"])
    assert result.exit_code == 0, result.output
    assert result.stdout.splitlines() == ["new/models/noop-1.yaml", "new/torchloom.yaml"]
    assert "vmargs (there is no Java)" in result.stderr
    assert (store.parent / "new" / "MIGRATION.md").exists()


def test_refuses_to_write_over_a_folder(store: Path) -> None:
    """What is there is the user's."""
    (store.parent / "torchloom").mkdir()
    result = CliRunner().invoke(main, ["migrate", "--model-store", str(store)])
    assert result.exit_code == 1
    assert "is there already" in result.stderr


@pytest.mark.parametrize(
    ("text", "says"),
    [("", "Name the model store"), ("model_store=gone", "names the folder gone")],
)
def test_needs_a_model_store(store: Path, text: str, says: str) -> None:
    """Without one there is nothing to read."""
    (store.parent / "c").write_text(text)
    result = CliRunner().invoke(main, ["migrate", "--ts-config", "c"])
    assert result.exit_code == 2
    assert says in result.stderr
