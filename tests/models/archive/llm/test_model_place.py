"""Where the files are that an archive names."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom.errors import InvalidModel
from torchloom_models.archive.llm.model_place import ModelPlace, find_snapshot


@pytest.fixture
def place(tmp_path: Path) -> ModelPlace:
    """Give the place of an archive's files, with a cache of the hub beside it."""
    (tmp_path / "archive").mkdir()
    return ModelPlace(folder=tmp_path / "archive", whose="'m.mar'", download_dir=tmp_path / "cache")


def snapshot(repository: Path, commit: str, reference: str | None = None) -> Path:
    """Write a snapshot as the hub's cache has it."""
    folder = repository / "snapshots" / commit
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    if reference is not None:
        (repository / "refs").mkdir(exist_ok=True)
        (repository / "refs" / reference).write_text(commit)
    return folder


def test_looks_into_the_archive_first(place: ModelPlace) -> None:
    """A folder of a name that the hub could have as well."""
    (place.folder / "org" / "name").mkdir(parents=True)

    assert place.find("org/name", "k") == str(place.folder / "org" / "name")


def test_takes_absolute_paths(place: ModelPlace, tmp_path: Path) -> None:
    """They lead where they say."""
    assert place.find(str(tmp_path), "k") == str(tmp_path)


def test_takes_ids_of_the_hub(place: ModelPlace) -> None:
    """With the revision that is said, or the main one."""
    other = ModelPlace(folder=place.folder, whose="'m.mar'", revision="v2")

    assert place.find("org/name", "k") == "hf://org/name@main"
    assert place.find("gpt2", "k") == "hf://gpt2@main"
    assert other.find("org/name", "k") == "hf://org/name@v2"


def test_looks_into_a_cache_before_it_asks_the_hub(place: ModelPlace) -> None:
    """`download_dir` has the hub's own layout."""
    assert place.download_dir is not None
    folder = snapshot(place.download_dir / "models--org--name", "abc", "main")

    assert place.find("org/name", "k") == str(folder)


@pytest.mark.parametrize("inner", ["", "models--org--name"])
def test_finds_the_snapshot_in_a_folder_of_the_cache(place: ModelPlace, inner: str) -> None:
    """An archive may hold a repository's folder of the cache, or one with that folder in it."""
    folder = snapshot(place.folder / "model" / inner, "abc")

    assert place.find("model", "k") == str(folder)


def test_leaves_a_folder_as_it_is_where_it_could_mean_two(place: ModelPlace) -> None:
    """Two repositories: nobody knows which."""
    for name in ("models--a--b", "models--c--d"):
        snapshot(place.folder / "model" / name, "abc")

    assert place.find("model", "k") == str(place.folder / "model")


@pytest.mark.parametrize(
    "words", ["model/that/is/not/there", "/no/such/folder", "../up", "x" * 5000, "a\0b", "é/è"]
)
def test_names_what_is_nowhere(place: ModelPlace, words: str) -> None:
    """With the key, and how to mend it."""
    with pytest.raises(InvalidModel, match=r"`handler\.model_path: .*--extra-files") as raised:
        place.find(words, "handler.model_path")

    assert "'m.mar'" in raised.value.message


def test_knows_snapshots_by_reference_commit_or_as_the_only_one(tmp_path: Path) -> None:
    """In this order; of several it does not know, none."""
    assert find_snapshot(tmp_path, "main") is None
    first = snapshot(tmp_path, "aaa")
    assert find_snapshot(tmp_path, "main") == first
    second = snapshot(tmp_path, "bbb", "v2")

    assert find_snapshot(tmp_path, "v2") == second
    assert find_snapshot(tmp_path, "aaa") == first
    assert find_snapshot(tmp_path, "main") is None
