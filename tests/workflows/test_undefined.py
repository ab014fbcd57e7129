"""Undefined: what is found where there is nothing."""

from __future__ import annotations

import pytest
from jinja2 import UndefinedError

from torchloom_workflows.undefined import AbsentName, Missing


def test_names_a_name_that_is_absent() -> None:
    """A whole name that is absent can be told from a key that is not there."""
    with pytest.raises(AbsentName) as caught:
        str(Missing(name="answer"))
    assert caught.value.name == "answer"


@pytest.mark.parametrize(
    ("value", "key", "words"),
    [
        ({"text": 1}, "txet", "there is no 'txet'. Did you mean 'text'?"),
        ([1, 2], 5, "there is no item 5: there are 2"),
        (3, "x", "a int has no 'x'"),
        ("abc", "upper", "a str has no 'upper'"),
    ],
)
def test_says_what_was_not_there(value: object, key: object, words: str) -> None:
    """The message names the key, and the nearest one that is there."""
    with pytest.raises(UndefinedError) as caught:
        bool(Missing(obj=value, name=key))  # type: ignore[arg-type]  # positions are no names
    assert words in str(caught.value)


def test_cannot_be_used_in_any_way() -> None:
    """Anything but a test for it fails."""
    missing = Missing(obj={}, name="x")
    for use in (str, len, iter, bool, hash, lambda m: m + 1, lambda m: m == 1, lambda m: m[0]):
        with pytest.raises(UndefinedError):
            use(missing)
