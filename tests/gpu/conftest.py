"""What the tests that need a CUDA device share: `pytest -m gpu` runs them, where there is one."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


HERE = Path(__file__).parent

# importlib mode puts no folder on the path: the models that the engines' own tests make.
sys.path[:0] = [str(HERE.parent / "models" / kind) for kind in ("llm", "diffusion")]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark every test of this folder, and skip it, with a reason, where there is no device."""
    mine = [item for item in items if HERE in item.path.parents]
    if not mine:
        return
    import torch  # noqa: PLC0415 - for the tests that use it

    marks = [pytest.mark.gpu, pytest.mark.slow]
    if not torch.cuda.is_available():
        marks.append(pytest.mark.skip(reason="needs a CUDA device"))
    for item in mine:
        for mark in marks:
            item.add_marker(mark)
