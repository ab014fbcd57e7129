"""Our package under the name `ts`."""

from __future__ import annotations

import importlib
import importlib.util
import runpy
import sys
from pathlib import Path

import pytest

from torchloom_models.archive import alias
from torchloom_models.archive import ts as ours
from torchloom_models.archive.intermediate import send_intermediate_predict_response


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


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("ts.torch_handler.dali_image_classifier", "DALI"),
        ("ts.handler_utils.preprocess.dali", "DALI"),
        ("ts.model_service_worker", "workers take its place"),
        ("ts.model_server", "`torchloom torchserve`"),
    ],
)
def test_says_what_there_is_in_place_of_what_is_left_out(name: str, says: str) -> None:
    """What TorchServe has beyond it is named, with a way on."""
    with pytest.raises(ModuleNotFoundError, match=says) as caught:
        importlib.import_module(name)

    assert name.startswith(str(caught.value.name))


@pytest.mark.usefixtures("ts")
@pytest.mark.parametrize("name", ["ts.model_server", "ts.utils.setup_model_venv", "ts.absent"])
def test_can_be_asked_for_what_is_left_out(name: str) -> None:
    """To look for a module raises nothing; importing it does, also the second time."""
    importlib.util.find_spec(name)

    for _ in range(2):
        with pytest.raises(ModuleNotFoundError, match=f"No module named '{name}'") as caught:
            importlib.import_module(name)
        assert caught.value.name == name
        assert name not in sys.modules


@pytest.mark.usefixtures("ts")
def test_says_it_to_who_runs_what_is_left_out() -> None:
    """As `python -m` does."""
    with pytest.raises(ImportError, match="start a server by `torchloom torchserve`"):
        runpy.run_module("ts.arg_parser", alter_sys=False)


def write_ts(folder: Path, *names: str) -> None:
    """Write a package `ts`, and modules below it."""
    for name in ("__init__.py", *names):
        file = folder / "archives" / "ts" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("real = True\ndef send_intermediate_predict_response(): ...\n")
    sys.path.insert(0, str(folder / "archives"))


@pytest.mark.usefixtures("own_process")
def test_steps_aside_for_torchserve_itself(tmp_path: Path) -> None:
    """Where the real package is installed, handlers get that; what they send goes our way."""
    write_ts(tmp_path, "torch_handler/__init__.py", "handler_utils/utils.py")

    assert not alias.install()
    assert importlib.import_module("ts").real
    assert not alias.install()
    sending = importlib.import_module("ts.handler_utils.utils")
    assert sending.send_intermediate_predict_response is send_intermediate_predict_response


@pytest.mark.usefixtures("own_process")
def test_takes_the_name_of_another_package(tmp_path: Path) -> None:
    """A library that happens to be called `ts` is not what handlers mean."""
    write_ts(tmp_path, "series.py")

    assert alias.install()
    assert importlib.import_module("ts") is ours
