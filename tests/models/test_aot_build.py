"""The child process that compiles."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from pathlib import Path

import pytest
import torch
from torch.export import ExportedProgram

from torchloom_models.aot_build import AotBuild, BuildOrder
from torchloom_models.compiler import CompileFailed


pytestmark = pytest.mark.slow


def export() -> ExportedProgram:
    """Give a program to build."""
    return torch.export.export(torch.nn.Linear(2, 2), (torch.ones(3, 2),))


def make_build(folder: Path, mode: str = "default") -> AotBuild:
    """Give a build in a folder."""
    order = BuildOrder(threads=1, niceness=0, mode=mode)
    return AotBuild(folder, order, inductor_folder=folder / "inductor")


def test_says_what_the_compiler_said(tmp_path: Path) -> None:
    """A build that fails ends with the child's own last words."""
    with pytest.raises(CompileFailed, match=r"inductor failed(.|\n)*no-such-mode"):
        make_build(tmp_path, mode="no-such-mode").run(export())


def test_ends_when_it_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that is stopped fails at once; its child is gone."""
    popen = subprocess.Popen

    def start(command: list[str], **options: object) -> subprocess.Popen[bytes]:
        # A child that would go on for ever takes the compiler's place.
        waits = [sys.executable, "-c", "import sys; sys.stdin.read()"]
        child = popen(waits, **options)  # type: ignore[call-overload]  # passed on as they come
        assert command[-1] == str(tmp_path)
        return child

    monkeypatch.setattr(subprocess, "Popen", start)
    build = make_build(tmp_path)
    errors: list[CompileFailed] = []

    def run() -> None:
        try:
            build.run(export())
        except CompileFailed as error:
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    while build._child is None and thread.is_alive():
        thread.join(0.01)
    build.stop()
    thread.join()

    assert [str(error) for error in errors] == ["inductor failed: exit code -15"]


def test_goes_away_with_its_parent(tmp_path: Path) -> None:
    """A child whose parent was killed does not compile on."""
    os.mkfifo(tmp_path / "order.json")
    child = subprocess.Popen(
        [sys.executable, "-m", "torchloom_models.aot_build", str(tmp_path)], stdin=subprocess.PIPE
    )
    assert child.stdin is not None

    child.stdin.close()

    assert child.wait() == 1
