"""What the tests of the language model engine share."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest


# importlib mode puts no folder on the path: `tiny_model` lies beside this file.
sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture(scope="session")
def llama(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder with a tiny Llama."""
    from tiny_model import save_model  # noqa: PLC0415 - transformers, for the tests that use it

    return save_model(tmp_path_factory.mktemp("llama"))
