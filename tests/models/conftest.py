"""Puts the stand-ins of these tests on the path, for other processes too."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest


HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)


@pytest.fixture
def fakes_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let processes that a test starts import the stand-ins."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", HERE if path is None else f"{HERE}{os.pathsep}{path}")
