"""Where a model's files come from."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.deployment import Report
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models import hub
from torchloom_models.source import find_fault, resolve_source


COMMIT = "0123456789abcdef0123456789abcdef01234567"


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


@pytest.mark.parametrize(
    "source",
    ["weights", "../up/model.pt2", f"hf://org/name@{COMMIT}", "hf://gpt2@main", "package://a/b/c"],
)
def test_finds_no_fault_in_sound_words(source: str) -> None:
    """Paths, hub sources with a revision and packages are sources."""
    assert find_fault(source) is None


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("hf://org/name", "names no revision"),
        ("hf://org/name/extra@main", "no hub source"),
        ("hf://../name@main", "no hub source"),
        ("package://", "no package source"),
        ("package://a-b/c", "no package source"),
        ("s3://bucket/model", "'s3'"),
        ("http://host/model", "'http'"),
    ],
)
def test_says_what_is_wrong_with_the_words(source: str, words: str) -> None:
    """Each fault says how to write it, and stops the model from loading."""
    fault = find_fault(source)

    assert fault is not None
    assert words in fault
    with pytest.raises(InvalidModel):
        resolve_source(source, silent)


def test_takes_a_folder_as_it_is(tmp_path: Path) -> None:
    """A path that exists is the answer."""
    assert resolve_source(str(tmp_path), silent) == tmp_path


def test_says_that_a_path_does_not_exist(tmp_path: Path) -> None:
    """The message has the path, and what paths are relative to."""
    with pytest.raises(ModelLoadError, match="relative to the model file"):
        resolve_source(str(tmp_path / "absent"), silent)


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Give the folder of a package that can be imported, with a model in it."""
    folder = tmp_path / "tl_model_package"
    (folder / "model").mkdir(parents=True)
    (folder / "__init__.py").write_text("raise RuntimeError('never imported')")
    monkeypatch.syspath_prepend(tmp_path)
    return folder


def test_finds_a_folder_in_a_package_without_importing_it(package: Path) -> None:
    """The package's own code does not run."""
    assert resolve_source("package://tl_model_package/model", silent) == package / "model"


def test_says_that_a_package_is_not_installed() -> None:
    """The message names the package."""
    with pytest.raises(ModelLoadError, match="'tl_no_such_package', which is not installed"):
        resolve_source("package://tl_no_such_package/model", silent)


@pytest.mark.usefixtures("package")
def test_does_not_leave_the_package() -> None:
    """No `..` and no absolute path leads out."""
    for path in ("../../etc", "/etc/passwd", "model/../../x"):
        with pytest.raises(InvalidModel, match="out of its package"):
            resolve_source(f"package://tl_model_package/{path}", silent)


def test_hands_hub_sources_to_the_hub(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Repository and revision arrive apart; what was fetched is the answer."""
    asked: list[tuple[str, str]] = []

    def download(repository: str, revision: str, report: Report) -> Path:
        asked.append((repository, revision))
        report("downloading", 1.0)
        return tmp_path

    monkeypatch.setattr(hub, "download", download)

    assert resolve_source(f"hf://org/name@{COMMIT}", silent) == tmp_path
    assert asked == [("org/name", COMMIT)]
