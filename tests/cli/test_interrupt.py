"""Ctrl-C in `torchloom run`: the run is cancelled, and the exit code says so."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from torchloom_api.cli.exit_code import ExitCode


pytestmark = pytest.mark.slow

COUNTING = """\
name: counting
nodes:
  count: {function: "counting:count"}
outputs: {all: "{{ count.items }}"}
stream: count
"""
FUNCTIONS = """\
import time


def count():
    for n in range(1000):
        yield {"n": n}
        time.sleep(0.1)
"""


@pytest.fixture
def _heeds_ctrl_c() -> Iterator[None]:
    """Let children hear SIGINT, which a shell turns off for what it runs in the background."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("_heeds_ctrl_c")
def test_ends_a_run_of_a_file_with_130(tmp_path: Path) -> None:
    """Ctrl-C while the answer streams leaves no process and no half-printed error behind."""
    (tmp_path / "counting.yaml").write_text(COUNTING)
    (tmp_path / "counting.py").write_text(FUNCTIONS)
    program = [sys.executable, "-u", "-m", "torchloom_api.cli", "run", "counting.yaml"]
    run = subprocess.Popen(
        [*program, "--functions", "counting"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert run.stdout is not None
    try:
        run.stdout.read(1)  # it has begun to answer
        run.send_signal(signal.SIGINT)
        _, errors = run.communicate(timeout=60)
    finally:
        run.kill()  # nothing where it has ended
        run.wait()
    assert run.returncode == ExitCode.INTERRUPTED
    assert b"Cancelled." in errors
    assert b"Traceback" not in errors
