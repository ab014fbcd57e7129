"""The folder of unpacked archives."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from model_fakes.archives import write_folder, write_mar

from torchloom.errors import ModelLoadError
from torchloom_models.archive.unpacked import UnpackedStore


#: Opens an archive in a process of its own, says where it is, and waits to be killed.
PROGRAM = """
import sys
from pathlib import Path
from torchloom_models.archive.unpacked import UnpackedStore
opened = UnpackedStore(Path(sys.argv[1])).open(Path(sys.argv[2]))
print(opened.path, flush=True)
sys.stdin.read()
"""


@pytest.fixture
def store(tmp_path: Path) -> UnpackedStore:
    """Give a store."""
    return UnpackedStore(tmp_path / "archives")


@pytest.fixture
def source(tmp_path: Path) -> Path:
    """Give an archive."""
    return write_mar(tmp_path / "my model.mar", {"a.py": "x"})


def folders(tmp_path: Path) -> list[Path]:
    """List what is unpacked."""
    return [each for each in (tmp_path / "archives").iterdir() if each.is_dir()]


def test_unpacks_once_for_all(store: UnpackedStore, source: Path) -> None:
    """Workers of one archive share a folder; the last one removes it."""
    one, other = store.open(source), store.open(source)

    assert one.path == other.path
    one.close()
    assert (other.path / "a.py").read_text() == "x"
    other.close()
    other.close()
    assert not other.path.exists()


def test_tells_states_of_an_archive_apart(store: UnpackedStore, source: Path) -> None:
    """A new version under the same name has a folder of its own."""
    old = store.open(source)
    source.unlink()
    write_mar(source, {"a.py": "xyz"})
    new = store.open(source)

    assert (old.path / "a.py").read_text() == "x"
    assert (new.path / "a.py").read_text() == "xyz"
    old.close()
    new.close()


def test_uses_a_folder_where_it_lies(store: UnpackedStore, tmp_path: Path) -> None:
    """What was not unpacked is not removed."""
    folder = write_folder(tmp_path / "model", {"a.py": "x"})
    opened = store.open(folder)
    opened.close()

    assert opened.path == folder
    assert (folder / "a.py").exists()


def test_leaves_nothing_behind_of_what_is_refused(
    store: UnpackedStore, source: Path, tmp_path: Path
) -> None:
    """A broken archive may be mended and opened again."""
    whole = source.read_bytes()
    source.write_bytes(whole[:50])
    with pytest.raises(ModelLoadError):
        store.open(source)
    assert folders(tmp_path) == []
    source.write_bytes(whole)

    store.open(source).close()


def test_removes_what_a_killed_process_has_left(
    store: UnpackedStore, source: Path, tmp_path: Path
) -> None:
    """What nobody holds any more goes when the next archive is opened; what is held, stays."""
    command = [sys.executable, "-c", PROGRAM, str(tmp_path / "archives"), str(source)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        path = Path(process.stdout.readline().decode().strip())
        other = write_mar(tmp_path / "other.mar", {"b.py": ""})
        store.open(other).close()
        assert (path / "a.py").exists()
        process.kill()
    assert (path / "a.py").exists()
    store.open(other).close()

    assert folders(tmp_path) == []
