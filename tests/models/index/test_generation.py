"""An index's folder: one generation in force, put there in one step, by one writer at a time."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.errors import ModelLoadError
from torchloom_models.index.generation import IndexFolder, Manifest, file_sizes
from torchloom_models.index.store import IndexBusy, Location


@pytest.fixture
def folder(tmp_path: Path) -> IndexFolder:
    """Give a folder that is not there yet."""
    return folder_at(tmp_path / "index")


def folder_at(path: Path) -> IndexFolder:
    """Open the folder, as another process would."""
    return IndexFolder(path, Location(source=str(path), name="handbook"))


def publish(folder: IndexFolder, text: str) -> Manifest:
    """Write a generation of one file, and put it in force."""
    with folder.lock(), folder.new_generation() as path:
        (path / "data").write_text(text)
        manifest = Manifest(
            library="none",
            generation=path.name,
            num_passages=1,
            dimension=4,
            metric="cosine",
            embedder=None,
            files=file_sizes(path),
        )
        folder.publish(manifest)
    return manifest


def test_reads_back_what_was_published(folder: IndexFolder) -> None:
    """The manifest, and the generation's files."""
    assert folder.stamp() is None
    manifest = publish(folder, "hello")
    assert folder_at(folder.path).manifest() == manifest
    assert (folder.generation(manifest) / "data").read_text() == "hello"


def test_stamps_each_generation_differently(folder: IndexFolder) -> None:
    """A reader sees by the stamp alone that there is another generation."""
    stamps = set()
    for _ in range(20):
        publish(folder, "same")
        stamps.add(folder.stamp())
    assert len(stamps) == 20


def test_removes_the_old_generation_when_the_new_is_in_force(folder: IndexFolder) -> None:
    """And not before."""
    old = publish(folder, "old")
    with folder.lock(), folder.new_generation():
        assert folder.generation(old).exists()
    new = publish(folder, "new")
    assert [path.name for path in folder.path.glob("generation-*")] == [new.generation]


def test_takes_a_failed_generation_away(folder: IndexFolder) -> None:
    """Whatever the writer raises comes out, and nothing is left but what was."""
    old = publish(folder, "old")
    with pytest.raises(KeyboardInterrupt), folder.lock(), folder.new_generation():
        raise KeyboardInterrupt
    assert [path.name for path in folder.path.glob("generation-*")] == [old.generation]
    assert folder.manifest() == old


def test_lets_one_write_and_the_next_after_it(folder: IndexFolder) -> None:
    """The lock holds against everyone, and is free again after an error."""
    busy = pytest.raises(IndexBusy, match=r"handbook.*another build")
    with folder.lock(), busy, folder_at(folder.path).lock():
        pytest.fail("two writers at once")
    with pytest.raises(RuntimeError), folder.lock():
        raise RuntimeError
    publish(folder_at(folder.path), "free")


@pytest.mark.parametrize("text", ["", "longer than before"])
def test_notices_files_of_another_size(folder: IndexFolder, text: str) -> None:
    """A file that was cut short, or grew, is damage."""
    manifest = publish(folder, "data")
    (folder.path / manifest.generation / "data").write_text(text)
    with pytest.raises(ModelLoadError, match=r"the file data has .* bytes in place of 4"):
        folder.generation(manifest)
