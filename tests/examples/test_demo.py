"""The demo behind `make demo`, run once from start to end."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import httpx
import pytest
from PIL import Image


pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


def test_runs_once_and_leaves_nothing_behind(tmp_path: Path) -> None:
    """`make demo ONCE=1` asks and draws, ends with code 0, and its server is gone."""
    command = [sys.executable, "-m", "examples.demo", "--once", "--port=18080"]
    command.append(f"--pictures={tmp_path}")
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=500
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Corvan Ashdrift." in done.stdout
    assert "The passages do not say." in done.stdout
    for number in range(1, 5):
        file = tmp_path / f"picture-{number}.png"
        assert str(file) in done.stdout
        with Image.open(file) as picture:
            assert (picture.format, picture.size) == ("PNG", (64, 64))
    (address,) = {line.split()[-1] for line in done.stdout.splitlines() if line[:6] == "Ready:"}
    with pytest.raises(httpx.ConnectError):
        httpx.get(f"{address}/api/health/live")
