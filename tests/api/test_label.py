"""Labels in paths."""

from __future__ import annotations

import pytest

from torchloom_api.errors import BadRequest
from torchloom_api.label import split_label


def test_takes_a_name_alone() -> None:
    """Without a version, the traffic split decides."""
    assert split_label("rag") == ("rag", None)


def test_splits_off_a_version() -> None:
    """A version stands behind an @."""
    assert split_label("rag@12") == ("rag", 12)


@pytest.mark.parametrize(
    "label", ["rag@", "rag@x", "rag@1@2", "rag@-1", "rag@²", "rag@" + "9" * 400]
)
def test_refuses_what_is_no_version(label: str) -> None:
    """Anything but a short whole number behind the @ is a bad request."""
    with pytest.raises(BadRequest, match="a version is a whole number"):
        split_label(label)
