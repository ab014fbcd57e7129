"""Where compiled code is kept."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from torchloom_models.artefact import (
    ABOUT,
    ArtefactKey,
    ArtefactStore,
    digest_of_text,
    machine_digest,
)
from torchloom_models.machine import COMMON, facts_of


KEY = ArtefactKey(model="m", dtype="float32", device="cpu", part="encode", name="minilm")

FIRST, SECOND = f"encode-{'1' * 32}", f"encode-{'2' * 32}"


def make(store: ArtefactStore, name: str, *, used_at: float = 1000.0) -> None:
    """Make an artefact of five bytes of code that was last used at some time."""
    with store.making(name, KEY, threads=2) as folder:
        (folder / "code").write_text("code!")
    os.utime(store.root / name / ABOUT, (used_at, used_at))


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


def test_lists_what_is_kept_with_its_last_use(tmp_path: Path) -> None:
    """Each artefact tells its model, device, threads and size; one that is found was used."""
    store = ArtefactStore(tmp_path)
    make(store, FIRST, used_at=1000)
    make(store, SECOND, used_at=2000)
    (tmp_path / "inductor").mkdir()

    newer, older = store.artefacts()

    assert (newer.name, newer.used_at, older.used_at) == (SECOND, 2000, 1000)
    assert (older.about.name, older.about.device, older.about.threads) == ("minilm", "cpu", 2)
    assert older.about.facts == facts_of(COMMON)
    assert older.bytes > len("code!")
    assert older.differences == []
    store.find(FIRST)
    assert [artefact.name for artefact in store.artefacts()] == [FIRST, SECOND]
    assert ArtefactStore(tmp_path / "none").artefacts() == []


def test_says_what_it_was_asked_for(tmp_path: Path) -> None:
    """What was made is told from what was there, and what was forgotten is not told of."""
    store = ArtefactStore(tmp_path)
    make(store, FIRST)
    again = ArtefactStore(tmp_path)
    again.find(FIRST)

    assert store.taken[FIRST] is not None
    assert again.taken == {FIRST: None}
    again.forget(FIRST)
    assert again.taken == {}


def test_prunes_what_does_not_fit_and_what_is_not_used(tmp_path: Path) -> None:
    """Other versions, no word on versions, and a long time unused: each is removed, and no more."""
    store = ArtefactStore(tmp_path)
    mute, broken = f"encode-{'3' * 32}", f"encode-{'4' * 32}"
    for name in (FIRST, SECOND, mute, broken):
        make(store, name, used_at=1000)
    about = json.loads((tmp_path / SECOND / ABOUT).read_text())
    about["facts"]["torch"] = "0.4"
    (tmp_path / SECOND / ABOUT).write_text(json.dumps(about))
    (tmp_path / mute / ABOUT).unlink()
    (tmp_path / broken / ABOUT).write_text("{")

    removed = store.prune(now=1500)

    assert {artefact.name for artefact in removed} == {SECOND, mute, broken}
    assert [artefact.name for artefact in store.artefacts()] == [FIRST]
    assert store.prune(unused_s=600, now=1500) == []
    assert [artefact.name for artefact in store.prune(unused_s=499, now=1500)] == [FIRST]
    assert store.artefacts() == []


def test_prunes_what_killed_builds_have_left_behind(tmp_path: Path) -> None:
    """A folder that is being filled stays for a day; then nobody fills it any more."""
    store = ArtefactStore(tmp_path)
    (tmp_path / f".{FIRST}.abc").mkdir()
    made_at = (tmp_path / f".{FIRST}.abc").stat().st_mtime

    store.prune(now=made_at + 3600)
    assert (tmp_path / f".{FIRST}.abc").exists()
    store.prune(now=made_at + 90_000)
    assert not (tmp_path / f".{FIRST}.abc").exists()
    assert ArtefactStore(tmp_path / "none").prune() == []
