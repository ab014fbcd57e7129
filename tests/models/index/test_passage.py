"""Passages that no store could give back unchanged are refused."""

from __future__ import annotations

import numpy as np
import pytest

from torchloom.errors import InvalidInput
from torchloom_models.index.passage import Facts, Passage, check_passage, filterable, to_vectors


def nested(levels: int) -> object:
    """Give a list in a list in a list, so many times."""
    value: object = 1
    for _ in range(levels):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("passage", "message"),
    [
        (Passage(id="", text="x"), "1 to 1024 characters"),
        (Passage(id="x" * 1025, text="x"), "1 to 1024 characters"),
        (Passage(id="a\x00", text="x"), "the id holds a NUL"),
        (Passage(id="a", text="x\x00"), "the text holds a NUL"),
        (Passage(id="a", text="\udc00"), "half of a surrogate pair"),
        (Passage(id="a", text="x" * 1_000_001), "cut it into smaller"),
        (Passage(id="a", text="", metadata={"k": "\x00"}), "metadata holds a NUL"),
        (Passage(id="a", text="", metadata={"\x00": 1}), "metadata holds a NUL"),
        (Passage(id="a", text="", metadata={"k": {1: 2}}), "keys are strings"),
        (Passage(id="a", text="", metadata={"k": float("nan")}), "nan"),
        (Passage(id="a", text="", metadata={"k": 2**63}), "64 bits"),
        (Passage(id="a", text="", metadata={"k": object()}), "is no JSON value"),
        (Passage(id="a", text="", metadata={"k": nested(20)}), "deeper than 16"),
    ],
)
def test_refuses_a_passage_that_cannot_be_kept(passage: Passage, message: str) -> None:
    """Each fault is named, with the passage's id."""
    with pytest.raises(InvalidInput, match=message):
        check_passage(passage)


def test_takes_an_ordinary_passage() -> None:
    """Nested JSON with unicode is fine."""
    metadata = {"title": "Ä 😀", "n": [1, 2.5, None, True, {"deep": [nested(3)]}]}
    check_passage(Passage(id="a b'c\"", text="", metadata=metadata))


def test_shows_filters_scalars_and_lists_of_them() -> None:
    """Nulls, nested objects and empty lists count as absent."""
    metadata = {"a": 1, "b": None, "c": {"d": 1}, "e": [], "f": [None, "x", [1], 2]}
    assert filterable(metadata) == {"a": 1, "f": ["x", 2]}


@pytest.mark.parametrize(
    ("metadata", "searchable"),
    [
        ({}, "body"),
        ({"title": "T"}, "T\nbody"),
        ({"section": "S"}, "S\nbody"),
        ({"title": "T", "section": "S"}, "T > S\nbody"),
        ({"title": 5, "section": ""}, "body"),
    ],
)
def test_embeds_the_headings_with_the_text(metadata: dict[str, object], searchable: str) -> None:
    """What is embedded is the text below its title and section, where it has them."""
    assert Passage(id="a", text="body", metadata=metadata).searchable == searchable


def test_takes_lists_and_arrays_of_any_number_type() -> None:
    """Vectors come as JSON lists, as float64 or as integers; they leave as float32."""
    for rows in ([[1, 2]], [[1.0, 2.0]], np.array([[1, 2]], np.int64), [np.array([1.0, 2.0])]):
        vectors = to_vectors(rows, facts=Facts(dimension=2), of="vector")
        assert vectors.dtype == np.float32
        assert vectors.tolist() == [[1, 2]]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([["a", "b"]], "a list of numbers"),
        ([[None, 1]], "NaN|list of numbers"),
        ([[1, 2], [1]], "a list of numbers"),
        ([5], "1 numbers, but"),
        ([[[1, 2]]], "holds vectors of 2"),
        ([[]], "0 numbers, but"),
        ([[1e39, 0]], "infinity"),
    ],
)
@pytest.mark.filterwarnings("ignore:overflow encountered in cast")
def test_refuses_what_is_no_vector(rows: object, message: str) -> None:
    """Text, ragged lists, scalars, matrices and numbers too large are no vectors."""
    with pytest.raises(InvalidInput, match=message):
        to_vectors(rows, facts=Facts(dimension=2), of="vector")


def test_takes_zeros_where_the_metric_can_compare_them() -> None:
    """Only cosine needs a direction."""
    assert not to_vectors([[0, 0]], facts=Facts(dimension=2, metric="l2"), of="vector").any()
