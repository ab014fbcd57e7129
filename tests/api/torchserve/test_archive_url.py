"""What a path of a registration means."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.torchserve.archive_url import find_file, is_folder


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give a model store with two archives, beside a folder that is one."""
    store = tmp_path / "store"
    (store / "below").mkdir(parents=True)
    for name in ("a.mar", "below/b.mar"):
        (store / name).touch()
    (tmp_path / "unpacked").mkdir()
    return store


@pytest.mark.parametrize(
    ("url", "found"),
    [
        ("a.mar", "a.mar"),
        ("./a.mar", "a.mar"),
        ("below/b.mar", "below/b.mar"),
        ("/model-store/of/the/caller/a.mar", "a.mar"),
        ("b.mar", None),
        ("https://host/a.mar", None),
        ("", None),
        (".", None),
        ("/", None),
        ("a\0.mar", None),
        ("x" * 300, None),
        (f"/{'x' * 300}/a.mar", "a.mar"),
    ],
)
def test_finds_what_lies_in_the_store(store: Path, url: str, found: str | None) -> None:
    """By its path there, or by the last name of another path, whatever lies at that."""
    assert find_file(store, url) == (None if found is None else store / found)


def test_finds_a_folder_elsewhere(store: Path) -> None:
    """By its whole path; none that holds the store."""
    elsewhere = store.parent / "unpacked"
    assert find_file(store, str(elsewhere)) == elsewhere
    assert find_file(store, str(store.parent)) is None
    assert is_folder(elsewhere)
    assert not is_folder(Path("/" + "x" * 300))
