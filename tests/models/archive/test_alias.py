"""Our package under the name `ts`."""

from __future__ import annotations

import importlib
import sys
from pathlib import Path

import pytest

from torchloom_models.archive import alias
from torchloom_models.archive import ts as ours


@pytest.mark.usefixtures("ts")
def test_gives_one_module_two_names() -> None:
    """A class is the same under either, and the module stays whole."""
    found = importlib.import_module("ts.utils.util")

    assert found is importlib.import_module("torchloom_models.archive.ts.utils.util")
    assert found.__spec__ is not None
    assert found.__spec__.name == "torchloom_models.archive.ts.utils.util"
    assert importlib.import_module("ts") is ours
    assert alias.install()


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize("name", ["ts.absent", "ts.absent.more", "ts.utils.absent"])
def test_has_no_more_than_there_is(name: str) -> None:
    """What is not there cannot be imported, as of any package."""
    with pytest.raises(ModuleNotFoundError, match="absent"):
        importlib.import_module(name)


@pytest.mark.usefixtures("own_process")
def test_steps_aside_for_torchserve_itself(tmp_path: Path) -> None:
    """Where the real package is installed, that is what handlers get."""
    (tmp_path / "ts").mkdir()
    (tmp_path / "ts" / "__init__.py").write_text("real = True")
    sys.path.insert(0, str(tmp_path))

    assert not alias.install()
    assert importlib.import_module("ts").real
    assert not alias.install()
