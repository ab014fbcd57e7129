"""Store: documents that are written whole or not at all."""

from __future__ import annotations

import itertools
import os
import sys
from pathlib import Path
from types import FrameType

import pytest

from torchloom import store as store_module
from torchloom.errors import InvalidInput
from torchloom.store import Store


OLD = "name: rag\nanswer: old\n"
NEW = "name: rag\nanswer: näw\n" * 1000


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """Give an empty store."""
    return Store(tmp_path / "store")


def test_gives_back_what_was_put_in(store: Store) -> None:
    """Documents come back by name and version as a number, text exactly as it was."""
    store.put("workflows", "rag", 10, NEW)
    store.put("workflows", "rag", 2, OLD)
    store.put("workflows", "a.b-c", 1, "x")
    store.put("models", "llama", 1, "y")
    found = [(d.name, d.version, d.text) for d in store.documents("workflows")]
    assert found == [("a.b-c", 1, "x"), ("rag", 2, OLD), ("rag", 10, NEW)]
    (model,) = store.documents("models")
    assert model.path.read_text() == "y"
    assert (model.kind, list(store.documents("none"))) == ("models", [])


def test_replaces_and_removes(store: Store) -> None:
    """The last write counts; removing what is not there changes nothing."""
    store.put("models", "llama", 1, OLD)
    store.put("models", "llama", 1, NEW)
    assert [d.text for d in store.documents("models")] == [NEW]
    store.remove("models", "llama", 1)
    store.remove("models", "llama", 1)
    store.remove("nothing", "llama", 1)
    assert list(store.documents("models")) == []


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".hidden", "a@1", "rag\n", "ä", "x" * 129])
def test_refuses_names_that_could_leave_the_folder(store: Store, name: str) -> None:
    """A name is letters, digits and a few signs; nothing else reaches the file system."""
    with pytest.raises(InvalidInput, match="cannot be a name"):
        store.put("models", name, 1, OLD)
    with pytest.raises(InvalidInput):
        store.remove("models", name, 1)


def test_passes_over_files_that_are_not_its_own(store: Store) -> None:
    """Left-overs of a crash, and what others have put there, are no documents."""
    folder = store.put("models", "llama", 1, OLD).parent
    for name in (".abc.tmp", "README.yaml", "x@y.yaml", "x@².yaml", "@1.yaml", "a b@1.yaml"):
        (folder / name).write_text("junk")
    assert [d.name for d in store.documents("models")] == ["llama"]


@pytest.mark.parametrize("has_old", [True, False])
def test_leaves_the_old_or_the_new_wherever_the_process_ends(
    store: Store, *, has_old: bool
) -> None:
    """Killed before any line of a registration: the old document or the new, never half of one."""
    if has_old:
        store.put("models", "llama", 1, OLD)
    seen = []
    while _is_killed_before_line(len(seen), store):
        texts = [d.text for d in Store(store.folder).documents("models")]
        assert texts in ([OLD] if has_old else [], [NEW])
        seen.append(texts)
    assert seen[-1:] == [[NEW]]
    assert seen == sorted(seen, key=lambda texts: texts == [NEW])
    assert len(seen) > 10
    assert [d.text for d in store.documents("models")] == [NEW]


def _is_killed_before_line(number: int, store: Store) -> bool:
    """Put in a process of its own that ends at once before it executes that line of the store."""
    child = os.fork()
    if child == 0:
        left = itertools.count(number, -1)

        def trace(frame: FrameType, event: str, _: object) -> object:
            if frame.f_code.co_filename != store_module.__file__:
                return None
            if event == "line" and next(left) == 0:
                os._exit(9)
            return trace

        sys.settrace(trace)
        store.put("models", "llama", 1, NEW)
        os._exit(0)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 9


def test_leaves_nothing_behind_when_a_write_fails(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A full disk is told to the caller, the old document stands, and no litter remains."""
    folder = store.put("models", "llama", 1, OLD).parent

    def fail(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        store.put("models", "llama", 1, NEW)
    monkeypatch.undo()
    assert [path.name for path in folder.iterdir()] == ["llama@1.yaml"]
    assert [d.text for d in store.documents("models")] == [OLD]
