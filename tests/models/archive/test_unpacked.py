"""The folder of unpacked archives."""

from __future__ import annotations

import fcntl
import os
import shutil
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed, wait
from pathlib import Path

import pytest
from model_fakes.archives import write_folder, write_mar

from torchloom.errors import ModelLoadError
from torchloom_models.archive.unpacked import UnpackedStore


#: Opening takes milliseconds; whoever is not done by then, waits for somebody.
PATIENCE_S = 20.0

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


def num_waiting_for_locks() -> int:
    """Count the threads of this process that wait for a lock of a file."""
    waiting = [line for line in Path("/proc/locks").read_text().splitlines() if " -> " in line]
    return sum(str(os.getpid()) in line.split() for line in waiting)


def test_unpacks_once_for_all(store: UnpackedStore, source: Path) -> None:
    """Workers of one archive share a folder; the last one removes it."""
    one, other = store.open(source), store.open(source)

    assert one.path == other.path
    one.close()
    assert (other.path / "a.py").read_text() == "x"
    other.close()
    other.close()
    assert not other.path.exists()


def test_keeps_nobody_waiting_for_the_end_of_whoever_unpacked(
    store: UnpackedStore, source: Path, tmp_path: Path
) -> None:
    """Of those that find at one moment that it is to be unpacked, all have it in the end."""
    store.open(source).close()
    (file,) = (tmp_path / "archives").glob("*.lock")
    with ThreadPoolExecutor(8) as pool:
        for _ in range(10):
            with file.open() as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)  # as who removes the folder has it
                openings = [pool.submit(store.open, source) for _ in range(8)]
                while num_waiting_for_locks() < 8:
                    pass
            _, late = wait(openings, timeout=PATIENCE_S)
            # One that waits for another's end gets on then: the test fails, and does not hang.
            for opening in as_completed(openings):
                assert (opening.result().path / "a.py").read_text() == "x"
                opening.result().close()
            assert not late
            assert folders(tmp_path) == []


def test_uses_nothing_of_what_is_half_removed(
    store: UnpackedStore, source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever removes a folder may be killed over it."""

    def stop(folder: Path, **_: object) -> None:
        (folder / "a.py").unlink()
        raise InterruptedError

    opened = store.open(source)
    with monkeypatch.context() as patch:
        patch.setattr(shutil, "rmtree", stop)
        with pytest.raises(InterruptedError):
            opened.close()
    opened = store.open(source)

    assert (opened.path / "a.py").read_text() == "x"
    opened.close()
    assert folders(tmp_path) == []


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
