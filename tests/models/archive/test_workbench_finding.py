"""What is named on the command line, and what of it is served."""

from __future__ import annotations

from pathlib import Path

import pytest
from model_fakes.archives import manifest_of, write_folder

from torchloom_models.archive.archiver_error import ArchiverError, MissingFile
from torchloom_models.archive.manifest import PLACE
from torchloom_models.archive.workbench import NamedFiles, Workbench
from torchloom_models.archive.workbench_finding import find_workbench


def _find(target: Path | str, **said: str) -> Workbench:
    return find_workbench(str(target), NamedFiles(), **said)


@pytest.mark.parametrize(
    ("written", "handler"),
    [("till.py", "till.py"), ("till", "till"), ("till.py:sell", "till:sell")],
)
def test_finds_a_file(tmp_path: Path, written: str, handler: str) -> None:
    """However archivers let it be written; its folder's files are the archive's."""
    write_folder(tmp_path, {"shop/till.py": ""})
    bench = _find(tmp_path / "shop" / written)

    assert (bench.name, bench.folder, bench.handler) == ("till", tmp_path / "shop", handler)


def test_finds_a_built_in_handler() -> None:
    """It has no folder: what it serves is named."""
    bench = _find("image_classifier", name="digits")

    assert (bench.name, bench.folder, bench.handler) == ("digits", None, "image_classifier")


def test_refuses_a_language_model(tmp_path: Path) -> None:
    """It has no code to write, unless the folder has a file of that name."""
    write_folder(tmp_path / "m", {str(PLACE): manifest_of("m", "vllm_handler")})
    for target in ("vllm_handler", tmp_path / "m"):
        with pytest.raises(ArchiverError, match="is a language model"):
            _find(target)
    (tmp_path / "m" / "vllm_handler.py").write_text("")

    assert _find(tmp_path / "m").name == "m"
    assert _find(tmp_path / "m" / "vllm_handler.py").handler == "vllm_handler.py"


def test_leaves_the_handler_to_a_manifest(tmp_path: Path) -> None:
    """The name is its, too, unless one is given."""
    write_folder(tmp_path, {str(PLACE): manifest_of("shop", "till.py"), "till.py": "", "a.py": ""})

    assert (_find(tmp_path).name, _find(tmp_path).handler) == ("shop", None)
    assert (_find(tmp_path, name="own").name, _find(tmp_path / "a.py").handler) == ("own", "a.py")


@pytest.mark.parametrize(
    ("files", "handler"),
    [
        (["handler.py", "my_handler.py", "net.py"], "handler.py"),
        (["my_handler.py", "net.py"], "my_handler.py"),
        (["net.py"], "net.py"),
    ],
)
def test_guesses_the_handler_of_a_folder(tmp_path: Path, files: list[str], handler: str) -> None:
    """Where only one file can be meant."""
    bench = _find(write_folder(tmp_path / "-my shop!", dict.fromkeys(files, "")))

    assert (bench.name, bench.handler) == ("my_shop", handler)
    assert _find(tmp_path / "-my shop!", handler="base_handler").handler == "base_handler"


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("nope.py", r"File does not exist: .*nope\.py"),
        ("packed.mar", "is packed"),
        ("several", r"several Python files: a\.py, b\.py"),
        ("empty", "--handler image_classifier"),
    ],
)
def test_says_what_cannot_be_served(tmp_path: Path, target: str, said: str) -> None:
    """And what to do."""
    write_folder(tmp_path, {"packed.mar": "", "several/a.py": "", "several/b.py": ""})
    (tmp_path / "empty").mkdir()

    with pytest.raises((ArchiverError, MissingFile), match=said):
        _find(tmp_path / target)
