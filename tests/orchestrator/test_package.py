"""The package torchloom as a whole."""

from __future__ import annotations

import subprocess
import sys


_IMPORT_ALL = """
import importlib, pkgutil, sys
import torchloom
for module in pkgutil.iter_modules(torchloom.__path__):
    importlib.import_module(f"torchloom.{module.name}")
heavy = {"torch", "transformers", "yaml", "jinja2", "litestar", "uvicorn", "qdrant_edge"}
print(*sorted(heavy & set(sys.modules)))
"""


def test_imports_no_framework() -> None:
    """The core knows no framework: importing all of it pulls in none."""
    command = [sys.executable, "-c", _IMPORT_ALL]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
