"""Random ids."""

from __future__ import annotations

import re

from torchloom.random_id import new_id


def test_gives_ids_that_differ() -> None:
    """Each is 96 random bits, also across what is drawn at once."""
    ids = [new_id() for _ in range(1000)]
    assert all(re.fullmatch("[0-9a-f]{24}", each) for each in ids)
    assert len(set(ids)) == len(ids)
