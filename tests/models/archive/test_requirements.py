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
from torchloom_models.archive.preparation import store_of
from torchloom_models.archive.requirements import install, state_of


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
    return make_wheel(tmp_path, "1.0", answer=42)


def make_wheel(folder: Path, version: str, *, answer: int) -> Path:
    """Make one version of it."""
    file = folder / f"tiny_archived_package-{version}-py3-none-any.whl"
    info = f"tiny_archived_package-{version}.dist-info"
    about = f"Metadata-Version: 2.1\nName: tiny-archived-package\nVersion: {version}\n"
    files = {
        "tiny_archived_package.py": f"ANSWER = {answer}\n",
        f"{info}/METADATA": about,
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
def test_installs_once_for_all_workers_of_a_folder(
    open_archive: Open, tmp_path: Path, wheel: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Python writes bytecode beside the handler that the first of them imports."""
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    texts = {"needy.py": HANDLER, "r.txt": wheel.as_uri()}
    files = files_of("needy", "needy.py", texts, requirementsFile="r.txt")
    source = write_folder(tmp_path / "needy", files)
    open_archive(source, install_requirements=True)
    assert (source / "__pycache__").is_dir()
    (installed,) = tmp_path.glob("archives/*/tiny_archived_package.py")
    wheel.unlink()  # whoever runs pip again fails

    open_archive(source, install_requirements=True)
    assert list(tmp_path.glob("archives/*/tiny_archived_package.py")) == [installed]


@pytest.mark.slow
def test_installs_anew_what_a_folder_asks_for_now(tmp_path: Path, wheel: Path) -> None:
    """Requirements are edited where they lie; whoever runs keeps what it has."""
    newer = make_wheel(tmp_path, "2.0", answer=43)
    texts = {"needy.py": HANDLER, "r.txt": wheel.as_uri()}
    files = files_of("needy", "needy.py", texts, requirementsFile="r.txt")
    source = write_folder(tmp_path / "needy", files)
    store = store_of({"archives": tmp_path / "archives", "install_requirements": True}, source)
    old = store.open(source)
    (source / "r.txt").write_text(newer.as_uri())
    new = store.open(source)

    answers = [(each.packages / "tiny_archived_package.py").read_text() for each in (old, new)]
    assert answers == ["ANSWER = 42\n", "ANSWER = 43\n"]
    old.close()
    new.close()


def test_tells_what_decides_what_is_installed(tmp_path: Path) -> None:
    """The text, the environment, and the files that the text names; nothing beside them."""
    texts = {"r.txt": "-r more.txt\n--constraint=c.txt\n./a.whl\nx" + 999 * "y" + "\n"}
    folder = write_folder(tmp_path, {**texts, "more.txt": "z==1\n", "c.txt": "", "a.whl": ""})
    file = folder / "r.txt"
    states = [state_of(file, has_venv=False)]
    write_folder(folder, {"handler.py": "", "__pycache__/handler.pyc": "", **texts})
    assert state_of(file, has_venv=False) == states[0]

    states.append(state_of(file, has_venv=True))
    for name in ("more.txt", "c.txt", "a.whl", "r.txt"):
        (folder / name).write_text("other\n" + (folder / name).read_text())
        states.append(state_of(file, has_venv=False))
    file.write_bytes(b"\xff \0")
    states.append(state_of(file, has_venv=False))
    assert len(set(states)) == len(states)
    file.unlink()
    assert not state_of(file, has_venv=False)


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
