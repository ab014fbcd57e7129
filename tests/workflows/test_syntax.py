"""Syntax: YAML and JSON as one stream of events."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torchloom_workflows.syntax import BadSyntax, Event, read_events


def _kinds(text: str) -> list[str]:
    return [event.kind for event in read_events(text)]


def _openings(text: str) -> list[Event]:
    return [event for event in read_events(text) if event.kind != "close"]


def test_gives_places_from_one() -> None:
    """Lines and columns count from 1, in both formats."""
    assert _openings("a:\n  - b") == [
        Event("document", 1, 1),
        Event("open_map", 1, 1),
        Event("scalar", 1, 1, "a"),
        Event("open_list", 2, 3),
        Event("scalar", 2, 5, "b"),
    ]
    assert _openings('{"a":\n  ["b"]}') == [
        Event("open_map", 1, 1),
        Event("scalar", 1, 2, "a"),
        Event("open_list", 2, 3),
        Event("scalar", 2, 4, "b"),
    ]


def test_reads_json_that_is_no_yaml() -> None:
    """Tabs, surrogate pairs and escapes that YAML does not know are read as JSON has them."""
    events = list(read_events('{\n\t"a":1,\t"b": "\\/\\ud83d\\ude00"}'))
    assert [event.value for event in events if event.kind == "scalar"] == ["a", 1, "b", "/😀"]


def test_reads_flow_style_as_yaml() -> None:
    """What begins like JSON and is none is YAML."""
    assert _kinds("{a: [b]}") == [
        "document",
        "open_map",
        "scalar",
        "open_list",
        "scalar",
        "close",
        "close",
    ]


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("!!python/name:os.system x", "Tags"),
        ("! 1", "Tags"),
        ("!!map {}", "Tags"),
        (".inf", "finite"),
        ('["\\ud800"]', "surrogate"),
        ("[NaN]", "NaN"),
        ("[1e999]", "too large"),
    ],
)
def test_complains_of_values_and_goes_on(text: str, complaint: str) -> None:
    """A value that cannot be used is marked; the rest of the text is still read."""
    assert [complaint in (event.complaint or "") for event in read_events(text)].count(True) == 1


@pytest.mark.parametrize(
    ("text", "line", "column", "words"),
    [
        ("a: b: c", 1, 5, "Quote a value that holds"),
        ("a:\n\t- b", 2, 1, "not tabs"),
        ("a: 'x", 1, 6, "quoted scalar"),
        ("a: [1,\nb: 2", 3, 1, "It begins on line 1"),
        ("ü: 1\nb: \x00", 2, 4, "not allowed"),
        ("%YAML 3.0\n---\na", 1, 1, "incompatible"),
    ],
)
def test_says_where_the_text_breaks_off(text: str, line: int, column: int, words: str) -> None:
    """An error of syntax names its line and column, and says what to do where that is known."""
    with pytest.raises(BadSyntax, match=words) as caught:
        list(read_events(text))
    assert (caught.value.line, caught.value.column) == (line, column)


_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63)
    | st.floats(-1e9, 1e9)
    | st.text('aü😀"\\\n{[,:'),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4)
    ),
    max_leaves=12,
)


@given(_JSON.filter(lambda data: isinstance(data, dict | list)), st.sampled_from([None, 2]))
def test_keeps_every_scalar_of_json(data: object, indent: int | None) -> None:
    """The scalars of JSON come out as json.loads gives them, in the order of the text."""
    text = json.dumps(data, indent=indent)
    scalars = [event.value for event in read_events(text) if event.kind == "scalar"]
    expected: list[object] = []

    def walk(value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                expected.append(key)
                walk(inner)
        elif isinstance(value, list):
            for inner in value:
                walk(inner)
        else:
            expected.append(value)

    walk(json.loads(text))
    assert scalars == expected
