"""Where compiled code is kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from torchloom_models.artefact import ArtefactKey, ArtefactStore, digest_of_text, machine_digest


KEY = ArtefactKey(model="m", dtype="float32", device="cpu", part="encode")


def test_keeps_what_was_made_and_says_what_it_is(tmp_path: Path) -> None:
    """An artefact is found by its digest from then on."""
    store = ArtefactStore(tmp_path / "kept")
    assert store.find("abc") is None

    with store.making("abc", KEY) as folder:
        (folder / "code").write_text("code")

    found = store.find("abc")
    assert found is not None
    assert (found / "code").read_text() == "code"
    assert json.loads((found / "about.json").read_text())["part"] == "encode"


def test_keeps_nothing_of_what_failed(tmp_path: Path) -> None:
    """Half an artefact is never seen, and leaves nothing behind."""
    store = ArtefactStore(tmp_path)

    with pytest.raises(FileNotFoundError), store.making("abc", KEY) as folder:
        (folder / "code").write_text((folder / "never made").read_text())

    assert store.find("abc") is None
    assert list(tmp_path.iterdir()) == []


def test_forgets_an_artefact_that_is_unusable(tmp_path: Path) -> None:
    """What was forgotten can be made again."""
    store = ArtefactStore(tmp_path)
    for _ in range(2):
        with store.making("abc", KEY):
            pass
        store.forget("abc")

    assert store.find("abc") is None


def test_locks_one_artefact_and_no_other(tmp_path: Path) -> None:
    """Two processes never make the same code at once; different code they do."""
    store = ArtefactStore(tmp_path)

    with store.lock("abc"), store.lock("def"):
        assert (tmp_path / "abc.lock").exists()


def test_tells_parts_of_a_digest_apart() -> None:
    """Where one part ends and the next begins counts."""
    assert digest_of_text("ab", "c") != digest_of_text("a", "bc")
    assert digest_of_text("ab", "c") == digest_of_text("ab", "c")


def test_gives_one_digest_for_this_machine() -> None:
    """The same libraries and processor give the same digest."""
    assert machine_digest() == machine_digest()


def test_counts_the_versions_of_further_packages() -> None:
    """What a route is made with besides torch belongs to its key."""
    assert machine_digest("openvino") not in {machine_digest(), machine_digest("no-such-package")}
