"""Names and values are spelled so that nothing in them means anything to the search engine."""

from __future__ import annotations

import json
import re

from torchloom_models.index.condition import parse_filter
from torchloom_models.index.passage import Passage
from torchloom_models.index.payload import to_fields, to_filter, to_payload


def test_keeps_metadata_as_it_is_beside_what_filters_see() -> None:
    """The metadata is one text, and comes back unchanged, nulls and nesting included."""
    metadata: dict[str, object] = {"a": None, "b": {"c": [1, 2.0]}, "d": "é"}
    payload = to_payload(Passage(id="p", text="t", metadata=metadata))
    assert (payload["id"], payload["text"]) == ("p", "t")
    assert json.loads(str(payload["metadata"])) == metadata


def test_keeps_numbers_and_words_of_a_field_apart() -> None:
    """A field's index holds values of one type; true is neither 1 nor the word True."""
    fields = to_fields(Passage(id="p", text="", metadata={"f": [1, "1", True, 2.5, "True"]}))
    (numbers,) = (values for key, values in fields.items() if key.startswith("number"))
    (words,) = (values for key, values in fields.items() if key.startswith("word"))
    assert numbers == [1.0, 2.5]
    assert words == ["1", "\x00True", "True"]


def test_spells_every_name_as_a_plain_key() -> None:
    """Dots, brackets, quotes and other scripts are no paths; different names stay different."""
    names = ["a", "a.b", "a[0]", 'a"b', "名", "", " ", "A", "61"]
    passage = Passage(id="p", text="", metadata=dict.fromkeys(names, "x"))
    keys = list(to_fields(passage))
    assert len(set(keys)) == len(names)
    assert all(re.fullmatch("[a-z0-9]+", key) for key in keys)


def test_has_no_filter_without_conditions() -> None:
    """No conditions are no filter, and not an empty one."""
    assert to_filter(()) is None


def test_puts_opposites_under_must_not() -> None:
    """What excludes is told apart from what includes."""
    asked = {"a": {"eq": 1, "ne": 2}, "b": {"exists": True}, "c": {"exists": False}}
    made = to_filter(parse_filter(asked))
    assert made is not None
    assert (len(made.must or []), len(made.must_not or [])) == (2, 2)
