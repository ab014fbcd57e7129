"""Document: what a user wrote, and where."""

from __future__ import annotations

import pytest

from torchloom.document import Document, pointer_to


DOCUMENT = Document(
    data={"nodes": {"a/b": {"model": "llama"}}, "list": [1, {"x": 2}]},
    file="rag.yaml",
    marks={"": (1, 1), "/nodes": (2, 3), "/nodes/a~1b/model": (4, 9)},
    key_marks={"/nodes/a~1b/model": (4, 2)},
)


def test_escapes_keys_in_pointers() -> None:
    """Slashes and tildes in keys are written as RFC 6901 wants them."""
    assert pointer_to("a/b", "c~d", 3) == "/a~1b/c~0d/3"
    assert pointer_to() == ""


def test_points_at_the_value_or_at_its_key() -> None:
    """A fault stands where its value stands, or where the key stands if that is wrong."""
    fault = DOCUMENT.fault("unknown", "nodes", "a/b", "model")
    assert (fault.file, fault.line, fault.column) == ("rag.yaml", 4, 9)
    assert fault.pointer == "/nodes/a~1b/model"
    assert DOCUMENT.fault("unknown", "nodes", "a/b", "model", at_key=True).column == 2
    assert DOCUMENT.fault("unknown", "nodes", at_key=True).line == 2


def test_points_at_the_nearest_part_that_has_a_place() -> None:
    """What is missing has no place of its own: the fault stands at what should hold it."""
    fault = DOCUMENT.fault("missing", "nodes", "a/b", "inputs", "text")
    assert (fault.line, fault.pointer) == (2, "/nodes/a~1b/inputs/text")
    assert Document(data={}).fault("empty").line is None
    assert DOCUMENT.fault("at the top").pointer is None


def test_keeps_absolute_places_in_its_parts() -> None:
    """A part of a document knows its data, and still points into the whole."""
    part = DOCUMENT.part("nodes").part("a/b")
    assert part.data == {"model": "llama"}
    assert part.fault("unknown", "model").line == 4
    assert DOCUMENT.part("list", 1, "x").data == 2
    with pytest.raises(KeyError):
        DOCUMENT.part("none")
    with pytest.raises(IndexError):
        DOCUMENT.part("list", 5)
