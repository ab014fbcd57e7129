"""Handlers loaded and called by scripts, without a server: `ts.model_loader` and `ts.service`."""

from __future__ import annotations

import importlib
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from torchloom.errors import InvalidModel


pytestmark = pytest.mark.usefixtures("ts")

HANDLER = """\
from ts.utils.util import PredictionException

class Length:
    def initialize(self, context):
        self.model_dir = context.system_properties["model_dir"]

    def handle(self, data, context):
        first = data[0]["body"]
        if first == b"raise":
            raise RuntimeError("said")
        if first == b"gone":
            raise PredictionException("gone", 410)
        if first == b"set":
            return [{1}]
        if first == b"none":
            return []
        context.set_response_content_type(0, "text/x")
        context.set_response_status(201, "Made", 0)
        return [len(row["body"]) for row in data]
"""


def asked(body: bytes) -> dict[str, Any]:
    """Give a request, as TorchServe's workers are sent it."""
    return {
        "requestId": b"one",
        "parameters": [{"name": "body", "value": body, "contentType": "text/plain"}],
        "headers": [{"name": b"X", "value": b"y"}],
    }


def fields(message: bytes) -> Iterator[object]:
    """Read the answers to a batch: code, text, then of each its fields, up to the end."""
    place = 0

    def number() -> int:
        nonlocal place
        (found,) = struct.unpack_from("!i", message, place)
        place += 4
        return int(found)

    def text() -> str:
        nonlocal place
        length = number()
        place += length
        return message[place - length : place].decode()

    yield from (number(), text())
    while message[place:] != b"\xff\xff\xff\xff":
        yield from (text(), text(), number(), text())
        yield {text(): text() for _ in range(number())}
        yield text()


@pytest.fixture
def service(tmp_path: Path) -> Any:
    """Load a handler."""
    folder = tmp_path / "archives"
    folder.mkdir()
    (folder / "length.py").write_text(HANDLER)
    loader = importlib.import_module("ts.model_loader").ModelLoaderFactory.get_model_loader()
    return loader.load("length", str(folder), "length.py", None, 2)


def test_calls_a_handler_with_a_batch(service: Any) -> None:
    """Statuses, headers and answers are those that a server would get."""
    told = list(fields(service.predict([asked(b"hi"), asked(b"there")])))

    assert told == [
        *(200, "Prediction success"),
        *("one", "text/x", 201, "Made", {"content-type": "text/x"}, "2"),
        *("one", "", 200, "", {}, "5"),
    ]
    assert service.context.get_request_header(0, "X") == "y"


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        (b"raise", 503, "Prediction failed"),
        (b"gone", 410, "gone"),
        (b"set", 503, "Unsupported model output data type."),
        (b"none", 503, "number of batch response mismatched"),
    ],
)
def test_tells_what_fails_in_torchserves_words(
    service: Any, body: bytes, code: int, message: str
) -> None:
    """The script goes on."""
    told = list(fields(service.predict([asked(body)])))

    assert told == [code, message, "one", "", code, "", {}, "error"]


def test_wraps_a_handler_into_an_envelope(service: Any, tmp_path: Path) -> None:
    """As the archive's server would."""
    (tmp_path / "archives" / "plain.py").write_text(
        "def handle(data, context):\n    return data and [type(row).__name__ for row in data]\n"
    )
    loader = importlib.import_module("ts.model_loader").TsModelLoader()
    folder = str(tmp_path / "archives")

    wrapped = loader.load("plain", folder, "plain.py", envelope="body")

    assert list(fields(wrapped.predict([asked(b"hi")])))[-1] == "bytes"
    with pytest.raises(InvalidModel, match="nowhere"):
        loader.load("plain", folder, "nowhere.py")
    with pytest.raises(ValueError, match="Received invalid inputs"):
        service.predict(None)
