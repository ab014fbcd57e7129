"""How modules of an archive are loaded."""

from __future__ import annotations

import importlib
import os
import sys
from pathlib import Path
from types import FunctionType

import pytest
from model_fakes.archives import write_folder

from torchloom.worker_process import AT_TERMINAL
from torchloom_models.archive.source_file import import_from


@pytest.fixture
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give a folder of links to an author's package, in front of all others."""
    own = write_folder(tmp_path / "own", {"bench_net/__init__.py": "", "bench_net/net.py": ""})
    place = tmp_path / "place" / "bench_net"
    place.mkdir(parents=True)
    for name in ("__init__.py", "net.py"):
        (place / name).symlink_to(own / "bench_net" / name)
    monkeypatch.setattr(sys, "path_hooks", list(sys.path_hooks))
    import_from(tmp_path / "place")
    monkeypatch.syspath_prepend(str(tmp_path / "place"))
    return tmp_path


def _import(number: int, folder: Path) -> FunctionType:
    """Write and import the module, as a process that is new would."""
    file = folder / "own" / "bench_net" / "net.py"
    file.write_text(f"def give():\n    return {number}\n")
    os.utime(file, ns=(10**18, 10**18))
    for name in ("bench_net.net", "bench_net"):
        sys.modules.pop(name, None)
    importlib.invalidate_caches()
    give: FunctionType = importlib.import_module("bench_net.net").give
    return give


def test_names_the_file_behind_a_link(place: Path) -> None:
    """In the code; a module's own name for its file is the link's."""
    give = _import(1, place)

    assert give.__code__.co_filename == str(place / "own" / "bench_net" / "net.py")
    assert sys.modules["bench_net.net"].__file__ == str(place / "place" / "bench_net" / "net.py")


def test_takes_no_bytecode_at_a_terminal(place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two states of a file of one size and second are two states."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    assert _import(1, place)() == 1
    monkeypatch.setenv(AT_TERMINAL, "1")

    assert _import(2, place)() == 2
