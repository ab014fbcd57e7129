"""Where a server keeps what it unpacks."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.own_folder import find_own_folder


#: A folder in which nobody can make anything, not even root.
CLOSED = Path("/proc")


def test_is_where_the_server_was_started(tmp_path: Path) -> None:
    """If that can be written, whatever TEMP says; one that is there stays as it is."""
    (tmp_path / ".torchloom").mkdir(mode=0o755)
    assert find_own_folder(tmp_path, {"TEMP": "/nowhere"}) == tmp_path / ".torchloom"
    assert (tmp_path / ".torchloom").stat().st_mode & 0o777 == 0o755
    assert list((tmp_path / ".torchloom").iterdir()) == []


def test_goes_to_the_temporary_files_of_a_container(tmp_path: Path) -> None:
    """Whose root cannot be written. It is for one user alone, and found again."""
    found = find_own_folder(CLOSED, {"TEMP": str(tmp_path)})
    assert found.parent == tmp_path
    assert found.name.startswith(f".torchloom-{os.getuid()}-")
    assert found.stat().st_mode & 0o777 == 0o700
    assert find_own_folder(CLOSED, {"TEMP": str(tmp_path)}) == found


def test_is_another_one_for_each_place(tmp_path: Path) -> None:
    """Two servers of one user do not restore each other's models."""
    places = [CLOSED, CLOSED / "sys"]
    found = {find_own_folder(place, {"TEMP": str(tmp_path)}) for place in places}
    assert len(found) == 2


def test_trusts_no_folder_of_somebody_else(tmp_path: Path) -> None:
    """What is unpacked there is run."""
    found = find_own_folder(CLOSED, {"TEMP": str(tmp_path)})
    found.rename(tmp_path / "theirs")
    found.symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs").chmod(0o500)
    with pytest.raises(InvalidSettings, match="belongs to somebody else"):
        find_own_folder(CLOSED, {"TEMP": str(tmp_path)})


def test_tells_where_nothing_can_be_written() -> None:
    """Both places are named."""
    with pytest.raises(InvalidSettings, match=r"'/proc/\.torchloom' nor '/proc/\.torchloom-"):
        find_own_folder(CLOSED, {"TEMP": "/proc"})
