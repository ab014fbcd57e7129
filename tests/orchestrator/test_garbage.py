"""What a process has when it is ready stays out of collections."""

from __future__ import annotations

import gc

import pytest

from torchloom import garbage


def test_sets_aside_what_there_is() -> None:
    """Garbage of before is gone, and what is left is looked through no more."""
    kept = [[] for _ in range(1000)]
    try:
        garbage.set_aside()
        assert gc.get_freeze_count() >= len(kept)
        assert not any(each is kept for each in gc.get_objects())
    finally:
        gc.unfreeze()


def test_keeps_what_was_imported_out_of_collections() -> None:
    """While modules are imported, collections are rare; what there is then is left out of them."""
    usual = gc.get_threshold()
    try:
        with garbage.importing():
            assert gc.get_threshold()[0] > usual[0]
            imported = [[] for _ in range(1000)]
        assert not any(each is imported for each in gc.get_objects())
        assert gc.get_threshold() == usual
    finally:
        gc.unfreeze()


def test_leaves_alone_what_a_module_has_said_itself() -> None:
    """A handler that sets how often garbage is looked for, as it is imported, has its way."""
    usual = gc.get_threshold()
    try:
        with garbage.importing():
            gc.set_threshold(1234)
        assert gc.get_threshold()[0] == 1234
    finally:
        gc.set_threshold(*usual)
        gc.unfreeze()


def test_looks_as_usual_after_an_import_that_raised() -> None:
    """A module that cannot be imported changes nothing for those that come after it."""
    usual = gc.get_threshold()
    try:
        with pytest.raises(ImportError), garbage.importing():
            raise ImportError
        assert gc.get_threshold() == usual
    finally:
        gc.unfreeze()
