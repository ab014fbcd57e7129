"""Items of handlers as bytes."""

from __future__ import annotations

import io
import json
import math

import msgspec
import numpy as np
import pytest

from torchloom.errors import HandlerFailed
from torchloom_models.archive.answer import to_outputs
from torchloom_models.archive.context import RequestProcessor


@pytest.mark.parametrize(
    ("item", "body", "value"),
    [
        (b"\x00\x01", b"\x00\x01", None),
        (bytearray(b"a"), b"a", None),
        ("h\u00e4", b"h\xc3\xa4", "h\u00e4"),
        (5, b"5", 5),
        (None, b"null", None),
        (True, b"true", True),
        (1.5, b"1.5", 1.5),
        ([1, "\u00e4"], b'[\n  1,\n  "\\u00e4"\n]', [1, "\u00e4"]),
        ({1: (2, 3)}, b'{\n  "1": [\n    2,\n    3\n  ]\n}', {"1": [2, 3]}),
        (2**70, str(2**70).encode(), str(2**70)),
        ({"a": [2**70, 1]}, b'{\n  "a": [\n    %d,\n    1\n  ]\n}' % 2**70, {"a": [str(2**70), 1]}),
    ],
)
def test_writes_what_torchserve_would(item: object, body: bytes, value: object) -> None:
    """Bytes are as they are, text is UTF-8, all else JSON with two blanks."""
    outputs = to_outputs(item, RequestProcessor({}))

    assert (outputs["body"], outputs["value"]) == (body, value)


class _Text(str):
    __slots__ = ()


class _Count(int):
    pass


class _Share(float):
    pass


@pytest.mark.parametrize(
    ("item", "value"),
    [
        (_Text("a"), "a"),
        (_Count(3), 3),
        (_Share(0.5), 0.5),
        ([_Text("a"), {"n": _Count(3)}], ["a", {"n": 3}]),
        (
            {"large": [2**100, -(2**63)], "small": 2**62},
            {"large": [str(2**100), str(-(2**63))], "small": 2**62},
        ),
        (10**2000, str(10**2000)),
        ({"half": "a\ud800", "whole": "\U0001f600"}, {"half": "a?", "whole": "\U0001f600"}),
    ],
)
def test_gives_a_value_that_travels(item: object, value: object) -> None:
    """Whatever is written as JSON reaches the server: TorchServe answers all of these."""
    outputs = to_outputs(item, RequestProcessor({}))

    assert outputs["value"] == value
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(outputs))["value"] == value


def test_writes_numbers_that_json_has_not() -> None:
    """Python's JSON has NaN; the value keeps it."""
    outputs = to_outputs([math.nan], RequestProcessor({}))

    assert outputs["body"] == b"[\n  NaN\n]"
    assert isinstance(outputs["value"], list)
    assert math.isnan(outputs["value"][0])


def test_writes_a_tensor_as_torch_saves_it() -> None:
    """The bytes can be loaded again."""
    import torch  # noqa: PLC0415 - costs seconds

    outputs = to_outputs(torch.arange(3), RequestProcessor({}))
    body = outputs["body"]
    assert isinstance(body, bytes)

    assert torch.load(io.BytesIO(body), weights_only=True).tolist() == [0, 1, 2]


@pytest.mark.parametrize("item", [object(), {1, 2}, np.arange(3), {"a": object()}])
def test_refuses_what_has_no_form(item: object) -> None:
    """The words are TorchServe's, the reason is json's."""
    with pytest.raises(HandlerFailed, match=r"Unsupported model output data type\.") as caught:
        to_outputs(item, RequestProcessor({}))
    assert caught.value.status == 503
    assert "JSON serializable" in caught.value.faults[0].message


def test_refuses_what_holds_itself() -> None:
    """An endless item is told, not followed."""
    item: list[object] = []
    item.append(item)

    with pytest.raises(HandlerFailed, match="Unsupported"):
        to_outputs(item, RequestProcessor({}))


def test_gives_headers_as_text() -> None:
    """A content type is no header among others, whatever its spelling; numbers become text."""
    said = RequestProcessor({})
    said.add_response_property("Content-Type", "image/png")
    said.add_response_property("X-Count", 3)  # type: ignore[arg-type]  # users do
    outputs = to_outputs("a", said)

    assert outputs["content_type"] == "image/png"
    assert outputs["headers"] == {"X-Count": "3"}
    assert json.dumps(outputs["headers"])
