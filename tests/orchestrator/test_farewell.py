"""Farewell: the end of a process, in processes of their own."""

from __future__ import annotations

import subprocess
import sys


def _run(code: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", f"from torchloom.farewell import leave\n{code}\nleave()"]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)


def test_does_what_was_to_be_done_at_the_end() -> None:
    """Functions of atexit run, and what was written comes out."""
    ended = _run("import atexit\natexit.register(print, 'done')\nprint('a', end='')")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "adone\n", "")


def test_takes_nothing_apart() -> None:
    """An object of a model is not freed one by one."""
    ended = _run("class Tensor:\n    def __del__(self): print('freed')\nkept = Tensor()")
    assert (ended.returncode, ended.stdout) == (0, "")


def test_waits_for_no_thread() -> None:
    """A thread of a model's code that never ends does not keep the process."""
    code = "import threading\nthreading.Thread(target=threading.Event().wait).start()"
    assert _run(code).returncode == 0


def test_ends_where_nobody_reads_what_it_says() -> None:
    """A closed or broken output is no reason to stay."""
    ended = _run("import os, sys\nprint('a', end='')\nos.close(1)\nsys.stderr.close()")
    assert ended.returncode == 0
