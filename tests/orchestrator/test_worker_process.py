"""A worker's process: its cores, and where it logs to."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from torchloom import worker_process
from torchloom.worker_process import AT_TERMINAL, PRINTS_PLAIN


def _log(**environment: str) -> subprocess.CompletedProcess[str]:
    code = (
        "import logging, os\nfrom torchloom.worker_process import settle_in\n"
        "settle_in(os.environ)\nlogging.getLogger('model').info('loaded')"
    )
    command = [sys.executable, "-c", code]
    surroundings = {**os.environ, **environment}
    return subprocess.run(
        command, env=surroundings, capture_output=True, text=True, check=True, timeout=60
    )


def test_stays_on_the_cores_that_were_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cores are pinned where the environment names any."""
    pinned: list[set[int]] = []
    monkeypatch.setattr(os, "sched_setaffinity", lambda _, cores: pinned.append(cores))
    worker_process._pin({"TORCHLOOM_CORES": "0,2"})
    worker_process._pin({})
    assert pinned == [{0, 2}]


def test_logs_with_stamps() -> None:
    """Standard output is the model's own."""
    said = _log()
    assert said.stdout == ""
    assert said.stderr.endswith(" INFO worker: loaded\n")


def test_logs_plain_lines_where_somebody_reads_them() -> None:
    """Whoever reads them has stamps of its own."""
    said = _log(**{PRINTS_PLAIN: "1"})
    assert (said.stdout, said.stderr) == ("loaded\n", "")


def test_logs_short_lines_at_a_terminal() -> None:
    """With the name of whoever logs: it may be the author's own module."""
    said = _log(**{AT_TERMINAL: "1"})
    assert (said.stdout, said.stderr) == ("", "INFO model: loaded\n")
