"""What tests of archives share: a process that an archive may make its own, and gives back."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

import pytest
from model_fakes.clock import Clock

from torchloom.device import Device
from torchloom_models.archive import alias
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.opening import open_handler


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]


@pytest.fixture
def own_process() -> Iterator[None]:
    """Undo what opening an archive changes in this process."""
    folder, path, modules, finders = Path.cwd(), list(sys.path), set(sys.modules), sys.meta_path[:]
    stream, output = sys.stdout, os.dup(1)
    yield
    os.dup2(output, 1)
    os.close(output)
    os.chdir(folder)
    sys.path[:] = path
    sys.meta_path[:] = finders
    sys.stdout = stream
    for name in set(sys.modules) - modules:
        file = getattr(sys.modules[name], "__file__", None) or ""
        if (
            name == "ts"
            or name.startswith("ts.")
            or "archives" in file
            or "archive/handlers" in file
        ):
            del sys.modules[name]


@pytest.fixture
def clock() -> Clock:
    """Give a clock."""
    return Clock()


@pytest.fixture
def ts(own_process: None) -> None:  # noqa: ARG001 - it undoes what this does
    """Let `ts` be imported."""
    assert alias.install()


@pytest.fixture
def open_archive(own_process: None, tmp_path: Path) -> Iterator[Open]:  # noqa: ARG001 - undone
    """Open archives; they are closed at the end."""
    opened: list[HandlerEngine] = []

    def opening(source: Path, **config: object) -> HandlerEngine:
        whole: Mapping[str, object] = {
            "name": "model",
            "source": str(source),
            "archives": str(tmp_path / "archives"),
            **config,
        }
        engine = open_handler(whole, Device("cpu"), lambda *_: None)
        opened.append(engine)
        return engine

    yield opening
    for engine in opened:
        engine.close()
