"""The small texts of archives, broken and hostile ones included."""

from __future__ import annotations

import zipfile
from pathlib import Path

import pytest

from torchloom_api.torchserve.archive_file import ArchiveFile, UnreadableArchive


def write(path: Path, *names: str) -> ArchiveFile:
    """Write a zip of empty files."""
    with zipfile.ZipFile(path, "w") as archive:
        for name in names:
            archive.writestr(name, "")
    return ArchiveFile(path)


def test_accepts_sound_names(tmp_path: Path) -> None:
    """Folders too; what is no zip is looked at when it is unpacked."""
    write(tmp_path / "a.war", "WAR-INF/", "WAR-INF/MANIFEST.json", "a/b.py").check_names()
    ArchiveFile(tmp_path).check_names()
    ArchiveFile(tmp_path / "a.tar.gz").check_names()


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("../evil.py", "leads out of the archive"),
        ("a/../../evil.py", "leads out of the archive"),
        ("/etc/evil", "absolute"),
        ("a\\b", "backslash"),
        ("x" * 300, "too long"),
    ],
)
def test_refuses_names_that_lead_elsewhere(tmp_path: Path, name: str, says: str) -> None:
    """Before anything else of it is read."""
    with pytest.raises(UnreadableArchive, match=says):
        write(tmp_path / "a.war", name).check_names()


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(10)])
def test_refuses_what_is_no_zip(tmp_path: Path, content: bytes) -> None:
    """Whichever way it is looked at."""
    path = tmp_path / "a.war"
    path.write_bytes(content)
    with pytest.raises(UnreadableArchive, match="cannot be opened"):
        ArchiveFile(path).check_names()
    with pytest.raises(UnreadableArchive, match="cannot be opened"):
        ArchiveFile(path).manifest("WAR-INF")


def test_refuses_a_member_that_is_broken(tmp_path: Path) -> None:
    """Its directory is whole, its data is not."""
    path = tmp_path / "a.war"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("w.yaml", "a: " + "x" * 1000)
    data = bytearray(path.read_bytes())
    data[40:50] = b"\xff" * 10
    path.write_bytes(data)
    with pytest.raises(UnreadableArchive, match="cannot be opened"):
        ArchiveFile(path).mapping("w.yaml")
