"""Packages that archives ask for."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import files_of, make_mar, write_folder

from torchloom.engine import Result, Work
from torchloom.errors import ModelLoadError
from torchloom_models.archive.engine import HandlerEngine
from torchloom_models.archive.requirements import install


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]

HANDLER = """\
import tiny_archived_package

def handle(data, context):
    return None if data is None else [tiny_archived_package.ANSWER for _ in data]
"""


@pytest.fixture
def wheel(tmp_path: Path) -> Path:
    """Make a package that needs no index."""
    file = tmp_path / "tiny_archived_package-1.0-py3-none-any.whl"
    info = "tiny_archived_package-1.0.dist-info"
    files = {
        "tiny_archived_package.py": "ANSWER = 42\n",
        f"{info}/METADATA": "Metadata-Version: 2.1\nName: tiny-archived-package\nVersion: 1.0\n",
        f"{info}/WHEEL": "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n",
    }
    record = "".join(f"{name},,\n" for name in [*files, f"{info}/RECORD"])
    with zipfile.ZipFile(file, "w") as archive:
        for name, text in {**files, f"{info}/RECORD": record}.items():
            archive.writestr(name, text)
    return file


def make(tmp_path: Path, requirements: str, config: str = "") -> Path:
    """Make an archive that asks for packages."""
    files = {"needy.py": HANDLER, "requirements.txt": requirements, "model-config.yaml": config}
    return make_mar(tmp_path, "needy", "needy.py", files, requirementsFile="requirements.txt")


@pytest.mark.slow
@pytest.mark.parametrize("config", ["", "useVenv: true\n"])
def test_installs_what_an_archive_asks_for(
    config: str, open_archive: Open, tmp_path: Path, wheel: Path
) -> None:
    """It lies with the archive's files, and is found there; nothing else is touched."""
    engine = open_archive(make(tmp_path, wheel.as_uri(), config), install_requirements=True)
    engine.admit(Work(1, {}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert event.outputs["value"] == 42
    program = "import tiny_archived_package"
    done = subprocess.run(
        [sys.executable, "-c", program], cwd="/", capture_output=True, check=False
    )
    assert done.returncode == 1


def test_installs_nothing_unless_it_may(open_archive: Open, tmp_path: Path, wheel: Path) -> None:
    """The message says what the operator can do."""
    with pytest.raises(ModelLoadError, match="tiny_archived_package"):
        open_archive(make(tmp_path, wheel.as_uri()))


@pytest.mark.slow
def test_says_what_pip_says(open_archive: Open, tmp_path: Path) -> None:
    """The words are TorchServe's, with pip's own behind them; nothing is left unpacked."""
    source = make(tmp_path, "./no_such_wheel-1.0-py3-none-any.whl")

    with pytest.raises(ModelLoadError, match=r"Custom pip package installation failed.*no_such"):
        open_archive(source, install_requirements=True)
    assert [each for each in (tmp_path / "archives").iterdir() if each.is_dir()] == []


def test_tells_the_last_lines_that_say_something(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Of all that pip says, not what it advertises at the end."""
    said = b"Collecting x\nERROR: none of x\n\nERROR: no match for x\n[notice] Try a newer pip\n"

    def run(command: list[str], **_: object) -> subprocess.CompletedProcess[bytes]:
        return subprocess.CompletedProcess(command, 1, stdout=b"Looking\n", stderr=said)

    monkeypatch.setattr(subprocess, "run", run)
    (tmp_path / "r.txt").write_text("x\n", "utf-8")
    with pytest.raises(ModelLoadError) as caught:
        install(tmp_path, tmp_path / "r.txt", model="m", has_venv=False)
    assert caught.value.message == (
        "Custom pip package installation failed for model m: "
        "Collecting x ERROR: none of x ERROR: no match for x"
    )


def test_names_requirements_that_are_not_there(tmp_path: Path) -> None:
    """The manifest must not name what is not in the archive."""
    with pytest.raises(ModelLoadError, match=r"'r\.txt' of model 'm' are not in the archive"):
        install(tmp_path, tmp_path / "r.txt", model="m", has_venv=False)


@pytest.mark.slow
@pytest.mark.parametrize("config", ["", "useVenv: true\n"])
def test_leaves_folders_of_the_operator_alone(
    config: str, open_archive: Open, tmp_path: Path, wheel: Path
) -> None:
    """What a folder asks for is installed elsewhere, found there, and gone with the last worker."""
    beside = f"./{wheel.name}\n"
    texts = {"needy.py": HANDLER, "r.txt": beside, "model-config.yaml": config}
    files = {**files_of("needy", "needy.py", texts, requirementsFile="r.txt")}
    source = write_folder(tmp_path / "needy", {**files, wheel.name: wheel.read_bytes()})
    before = {each for each in source.rglob("*") if "__pycache__" not in each.parts}
    engine = open_archive(source, install_requirements=True)
    engine.admit(Work(1, {}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert event.outputs["value"] == 42
    assert {each for each in source.rglob("*") if "__pycache__" not in each.parts} == before
    engine.close()
    assert [each for each in (tmp_path / "archives").iterdir() if each.is_dir()] == []


@pytest.mark.slow
def test_says_what_pip_says_of_a_folder(open_archive: Open, tmp_path: Path) -> None:
    """Nothing is left of it, and the folder is as it was."""
    texts = {"needy.py": HANDLER, "r.txt": "./no_such_wheel-1.0-py3-none-any.whl"}
    files = files_of("needy", "needy.py", texts, requirementsFile="r.txt")
    source = write_folder(tmp_path / "needy", files)

    with pytest.raises(ModelLoadError, match=r"Custom pip package installation failed.*no_such"):
        open_archive(source, install_requirements=True)
    assert [each for each in (tmp_path / "archives").iterdir() if each.is_dir()] == []
    assert (source / "needy.py").is_file()
