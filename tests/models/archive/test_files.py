"""Manifest and configuration of archives, packed or not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import files_of, write_folder, write_mar, write_tar

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.files import ArchiveFiles


FILES = files_of(
    "net",
    "h.py",
    {"h.py": "", "weights.bin": bytes(100_000), "own.yaml": "batchSize: 3\n"},
    configFile="own.yaml",
)


@pytest.mark.parametrize("write", [write_mar, write_tar, write_folder])
def test_reads_an_archive_without_unpacking_it(
    write: Callable[[Path, dict[str, str | bytes]], Path], tmp_path: Path
) -> None:
    """Whoever registers an archive wants to know what it is, before anything is written."""
    source = write(tmp_path / "net", FILES)
    before = sorted(tmp_path.rglob("*"))
    files = ArchiveFiles.glance(source)

    assert (files.manifest.name, files.manifest.handler) == ("net", "h.py")
    assert files.config == {"batchSize": 3}
    assert sorted(tmp_path.rglob("*")) == before


@pytest.mark.parametrize("write", [write_mar, write_tar])
def test_reads_no_more_than_a_little(
    write: Callable[[Path, dict[str, str | bytes]], Path], tmp_path: Path
) -> None:
    """A file that should be small and is not is refused, and not read whole."""
    source = write(tmp_path / "net", {**FILES, "own.yaml": bytes(5 << 20)})

    with pytest.raises(ModelLoadError, match=r"'own\.yaml' has more than"):
        ArchiveFiles.glance(source)


@pytest.mark.parametrize("write", [write_mar, write_tar])
def test_says_what_is_broken(
    write: Callable[[Path, dict[str, str | bytes]], Path], tmp_path: Path
) -> None:
    """The words are those of unpacking."""
    source = write(tmp_path / "net", FILES)
    source.write_bytes(source.read_bytes()[:200])

    with pytest.raises(ModelLoadError, match="cut short"):
        ArchiveFiles.glance(source)
    with pytest.raises(InvalidModel, match="the key `handler`"):
        ArchiveFiles.glance(write(tmp_path / "bare", {"a.py": ""}))
