"""What a process has when it is ready stays out of collections."""

from __future__ import annotations

import gc

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
