"""Ids of requests."""

from __future__ import annotations

import random
import uuid

from torchloom_api.torchserve.request_id import new_uuid


def test_makes_up_uuids_of_version_4() -> None:
    """In the form in which TorchServe writes them, and none twice."""
    ids = {new_uuid() for _ in range(1000)}

    assert len(ids) == 1000
    assert {uuid.UUID(each).version for each in ids} == {4}
    assert {uuid.UUID(each).variant for each in ids} == {uuid.RFC_4122}
    assert all(each == str(uuid.UUID(each)) for each in ids)


def test_makes_none_again_for_whoever_seeds_the_randomness_of_the_process() -> None:
    """A handler's or an operator's `random.seed(0)` is theirs alone."""
    state = random.getstate()
    try:
        random.seed(0)
        first = new_uuid()
        random.seed(0)
        assert new_uuid() != first
    finally:
        random.setstate(state)
