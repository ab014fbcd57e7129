"""Archives, opened as engines."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import SHOUT, Files, files_of, make_mar, write_folder, write_tar

from torchloom.device import Device
from torchloom.engine import Result, Work
from torchloom.errors import DeviceUnavailable, HandlerFailed, InvalidModel, ModelLoadError
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.opening import open_handler


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]


def ask(engine: HandlerEngine, body: object, **params: object) -> dict[str, object]:
    """Ask an engine one thing; give all outputs."""
    engine.admit(Work(1, {"body": body}, params))
    (event,) = engine.step()
    assert isinstance(event, Result)
    return dict(event.outputs)


def test_serves_a_class_of_an_archive(open_archive: Open, tmp_path: Path) -> None:
    """Its own package `models` is found, and its folder is the process's."""
    engine = open_archive(make_mar(tmp_path, "echo", "class_echo.py", SHOUT))

    assert ask(engine, b"hi")["value"] == {"prefix": "ECHO", "body": "hi", "batch": 1, "cwd": True}
    assert engine.device == "cpu"


@pytest.mark.parametrize("form", ["tar", "folder"])
def test_serves_an_archive_of_every_form(form: str, open_archive: Open, tmp_path: Path) -> None:
    """A .tar.gz and a folder are as good as a .mar."""
    files = files_of("double", "module_function.py")
    source = (
        write_tar(tmp_path / "double.tar.gz", files)
        if form == "tar"
        else write_folder(tmp_path / "double", files)
    )

    assert ask(open_archive(source), 4)["value"] == 8


def test_takes_the_handler_of_the_model_file(open_archive: Open, tmp_path: Path) -> None:
    """It goes before the archive's, and is needed where that has no manifest."""
    files = files_of("double", "module_function.py")
    del files["MAR-INF/MANIFEST.json"]
    source = write_folder(tmp_path / "double", files)

    with pytest.raises(InvalidModel, match="the key `handler`"):
        open_archive(source)
    engine = open_archive(source, handler="module_function.py:elsewhere")
    assert ask(engine, 4, request_id="r")["value"] == "[]r"


CONFIG: Files = {"model-config.yaml": "batchSize: 3\nhandler:\n  depth: 2\n"}


def test_reads_the_configuration(open_archive: Open, tmp_path: Path) -> None:
    """The batch is as large as the archive says; the model file decides where it says so."""
    source = make_mar(
        tmp_path, "double", "module_function.py", CONFIG, configFile="model-config.yaml"
    )

    assert open_archive(source).room().max_tasks == 3
    assert open_archive(source, max_size=5).room().max_tasks == 5


@pytest.mark.parametrize("size", ["0", "many", "[1]", "100000"])
def test_refuses_a_batch_size_that_is_none(size: str, open_archive: Open, tmp_path: Path) -> None:
    """The message says what it may be."""
    config = {"model-config.yaml": f"batchSize: {size}\n"}
    source = make_mar(tmp_path, "double", "module_function.py", config)

    with pytest.raises(InvalidModel, match="`batchSize` is a number from 1"):
        open_archive(source)


@pytest.mark.parametrize(
    ("config", "message"),
    [("a: [", "is no YAML"), ("- 1", "is no mapping"), ("x: " + "y" * (2 << 20), "the most")],
)
def test_refuses_a_configuration_that_is_none(
    config: str,
    message: str,
    open_archive: Open,
    tmp_path: Path,
) -> None:
    """The message names file and archive."""
    source = make_mar(
        tmp_path, "double", "module_function.py", {"c.yaml": config}, configFile="c.yaml"
    )

    with pytest.raises((InvalidModel, ModelLoadError), match=message):
        open_archive(source)


def test_refuses_a_configuration_that_is_not_there(open_archive: Open, tmp_path: Path) -> None:
    """The manifest must not name what is not in the archive."""
    source = make_mar(tmp_path, "double", "module_function.py", configFile="c.yaml")

    with pytest.raises(InvalidModel, match=r"'c.yaml', which is not in the archive"):
        open_archive(source)


def test_takes_an_empty_configuration(open_archive: Open, tmp_path: Path) -> None:
    """An empty file says nothing."""
    source = make_mar(tmp_path, "double", "module_function.py", {"model-config.yaml": "# none\n"})

    assert open_archive(source).room().max_tasks == 1


@pytest.mark.parametrize("text", ["", "hello, this is no archive"])
def test_refuses_what_is_no_archive(text: str, open_archive: Open, tmp_path: Path) -> None:
    """The message says what it could have been."""
    (tmp_path / "a.mar").write_text(text)

    with pytest.raises(InvalidModel, match=r"neither a zip \(\.mar\) nor a \.tar\.gz"):
        open_archive(tmp_path / "a.mar")
    with pytest.raises(ModelLoadError, match="does not exist"):
        open_archive(tmp_path / "b.mar")


def test_leaves_nothing_unpacked_of_what_does_not_load(open_archive: Open, tmp_path: Path) -> None:
    """A handler that raises as it loads leaves no folder behind."""
    source = make_mar(tmp_path, "bad", "bad.py", {"bad.py": "1 / 0"})

    with pytest.raises(ModelLoadError, match="ZeroDivisionError"):
        open_archive(source)
    assert [each for each in (tmp_path / "archives").iterdir() if each.is_dir()] == []


@pytest.mark.usefixtures("own_process")
def test_refuses_devices_that_are_not_for_handlers(tmp_path: Path) -> None:
    """OpenVINO runs what it has converted, and no Python."""
    source = make_mar(tmp_path, "double", "module_function.py")
    config = {"name": "m", "source": str(source), "archives": str(tmp_path / "archives")}

    with pytest.raises(DeviceUnavailable, match=r"devices: \[cpu\]"):
        open_handler(config, Device.parse("openvino:CPU"), lambda *_: None)


@pytest.mark.usefixtures("own_process")
def test_takes_the_device_that_the_archive_asks_for(tmp_path: Path) -> None:
    """`auto` is the CPU where the archive says so."""
    config = {"model-config.yaml": "deviceType: cpu\n"}
    source = make_mar(tmp_path, "double", "module_function.py", config)
    whole = {"name": "m", "source": str(source), "archives": str(tmp_path / "archives")}
    engine = open_handler(whole, Device("auto"), lambda *_: None)
    engine.close()

    assert engine.device == "cpu"


@pytest.mark.parametrize(
    ("wish", "status", "message"),
    [
        ({"raise": "not found", "code": 404}, 404, "not found"),
        ({"memory": 1}, 507, "Out of resources"),
        ({"cuda": 1}, 507, "Out of resources"),
        ({"exit": 1}, 503, "Prediction failed"),
        ({"short": 1}, 503, "number of batch response mismatched"),
        ({"tuple": 1}, 503, "Invalid model predict output"),
    ],
)
def test_fails_as_torchserve_does(
    wish: object,
    status: int,
    message: str,
    open_archive: Open,
    tmp_path: Path,
) -> None:
    """Statuses and words are those that clients know."""
    engine = open_archive(make_mar(tmp_path, "statuses", "statuses.py"))

    with pytest.raises(HandlerFailed, match=message) as caught:
        ask(engine, wish)
    assert caught.value.status == status


def test_keeps_modules_of_the_archive_first(open_archive: Open, tmp_path: Path) -> None:
    """What an archive brings goes before what is installed."""
    open_archive(make_mar(tmp_path, "echo", "class_echo.py", SHOUT))

    assert sys.path[0] == str(Path.cwd())
