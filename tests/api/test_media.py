"""Values as bytes of JSON and PNG."""

from __future__ import annotations

import json

import numpy as np
import pytest
from api_fakes.engines import PNG

from torchloom.errors import TaskFailed
from torchloom_api.errors import NotAcceptable
from torchloom_api.media import to_json, to_png


def test_writes_arrays_as_lists() -> None:
    """Arrays of any depth and numbers of numpy become plain JSON."""
    value = {
        "a": np.arange(6, dtype=np.int32).reshape(2, 3),
        "b": np.float32(0.5),
        "c": np.bool_(1),
    }

    assert json.loads(to_json(value)) == {"a": [[0, 1, 2], [3, 4, 5]], "b": 0.5, "c": True}


def test_writes_bytes_as_base64() -> None:
    """Bytes become base64 text."""
    assert to_json({"a": b"\x00\xff"}) == b'{"a":"AP8="}'


def test_writes_null_for_what_is_no_number() -> None:
    """NaN and infinities have no JSON: they become null."""
    assert to_json([np.array([np.nan, np.inf]), float("nan")]) == b"[[null,null],null]"


@pytest.mark.parametrize("value", [object(), {"a": {1, 2, object()}}, "\ud800", {(1, 2): 3}])
def test_says_that_a_value_has_no_json(value: object) -> None:
    """What a model gives and JSON cannot hold is the model's failure."""
    with pytest.raises(TaskFailed, match="cannot be written as JSON"):
        to_json(value)


def test_says_that_a_value_is_too_deep() -> None:
    """A value that is nested without end is a failure, not a crash."""
    value: list[object] = []
    for _ in range(100_000):
        value = [value]

    with pytest.raises(TaskFailed):
        to_json(value)


def test_finds_the_one_picture() -> None:
    """The one output that is a PNG is the picture."""
    assert to_png({"seed": 3, "image": PNG, "raw": b"no picture"}) == PNG


@pytest.mark.parametrize("outputs", [{}, {"a": "text"}, {"a": PNG, "b": PNG}])
def test_refuses_to_choose_a_picture(outputs: dict[str, object]) -> None:
    """None or several pictures cannot be the bare body."""
    with pytest.raises(NotAcceptable, match="ask for JSON"):
        to_png(outputs)
