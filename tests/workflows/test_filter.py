"""Filter: the filters and tests of expressions."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import to_document

from torchloom.errors import InvalidInput
from torchloom_workflows.expression import Names, parse_value
from torchloom_workflows.filter import FILTERS, TESTS


_SCOPE = {
    "s": "hello World",
    "n": 7,
    "xs": [3, 1, 2],
    "d": {"b": 1, "a": 2},
    "ps": [{"t": "a", "n": {"k": 1}}, {"t": "b", "n": {"k": 2}}, {"t": "a", "n": {"k": 3}}],
    "raw": b"bytes",
}


def _evaluate(source: str) -> object:
    parsed = parse_value(to_document(source), Names(others=frozenset({*_SCOPE, "none"})))
    assert parsed.faults == ()
    return parsed.binding.evaluate(_SCOPE)


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("-3 | abs", 3),
        ("xs | batch(2)", [[3, 1], [2]]),
        ("s | capitalize", "Hello world"),
        ("xs | count", 3),
        ("d.c | d('x')", "x"),
        ("d.c.e.f | default('x')", "x"),
        ("'' | default('x')", ""),
        ("'' | default('x', true)", "x"),
        ("d | dictsort", [("a", 2), ("b", 1)]),
        ("xs | first", 3),
        ("'1.5' | float", 1.5),
        ("'a\nb' | indent(2)", "a\n  b"),
        ("'7' | int", 7),
        ("'x' | int(5)", 5),
        ("d | items", [("b", 1), ("a", 2)]),
        ("xs | join(', ')", "3, 1, 2"),
        ("ps | join('', 't')", "aba"),
        ("xs | last", 2),
        ("s | length", 11),
        ("'ab' | list", ["a", "b"]),
        ("s | lower", "hello world"),
        ("ps | map(attribute='n.k')", [1, 2, 3]),
        ("['a'] | map('upper')", ["A"]),
        ("xs | max", 3),
        ("xs | min", 1),
        ("xs | reject('odd')", [2]),
        ("ps | rejectattr('t', 'eq', 'a') | map(attribute='t')", ["b"]),
        ("s | replace('l', 'L', 1)", "heLlo World"),
        ("xs | reverse", [2, 1, 3]),
        ("2.567 | round(1)", 2.6),
        ("2.1 | round(method='ceil')", 3.0),
        ("xs | select('gt', 1)", [3, 2]),
        ("ps | selectattr('t', 'equalto', 'b') | first | items", [("t", "b"), ("n", {"k": 2})]),
        ("xs | sort", [1, 2, 3]),
        ("ps | sort(attribute='t', reverse=true) | map(attribute='t')", ["b", "a", "a"]),
        ("n | string", "7"),
        ("xs | sum", 6),
        ("ps | sum(attribute='n.k')", 6),
        ("s | title", "Hello World"),
        ("{'a': ['ü', none]} | tojson", '{"a": ["ü", null]}'),
        ("' a ' | trim", "a"),
        ("s | truncate(8, leeway=0)", "hello..."),
        ("[1, 2, 1] | unique", [1, 2]),
        ("'a' | upper", "A"),
        ("'a b&' | urlencode", "a%20b%26"),
        ("s | wordcount", 2),
        ("(ps | groupby('t') | first).grouper", "a"),
        ("(ps | groupby('t') | first).list | length", 2),
        ("raw | length", 5),
    ],
)
def test_filters(expression: str, value: object) -> None:
    """Filters mean what they mean in Jinja2, and give lists rather than generators."""
    assert _evaluate(f"{{{{ {expression} }}}}") == value


def test_tries_every_filter() -> None:
    """The table above has a case for each filter."""
    cases = str(test_filters.pytestmark)  # type: ignore[attr-defined]  # pytest's own mark
    assert [name for name in FILTERS if f"| {name}" not in cases and name != "groupby"] == []


@pytest.mark.parametrize(
    ("expression", "value"),
    [
        ("n is odd", True),
        ("n is even", False),
        ("n is divisibleby(7)", True),
        ("n is number and n is integer and n is not float", True),
        ("s is string and xs is sequence and d is mapping and xs is iterable", True),
        ("true is true and false is false and true is boolean and none is none", True),
        ("d.x is undefined and d.x.y is not defined and d is defined", True),
        ("s is lower or s is upper", False),
        ("1 is in xs and n is eq 7 and n is ne 8 and n is gt 6 and n is le 7", True),
    ],
)
def test_tests(expression: str, value: object) -> None:
    """Tests mean what they mean in Jinja2."""
    assert _evaluate(f"{{{{ {expression} }}}}") is value


@pytest.mark.parametrize(
    "expression",
    [
        "s | indent(1000000)",
        "s | indent('x' * 1000)",
        "('\n' * 100000) | indent(100)",
        "s | replace('', 'x' * 1000000)",
        "('a,' * 100000).split(',') | join('x' * 1000)",
        "1.5 | round(1000000000)",
        "5 | round(-1000000000)",
        "[1] | batch(0)",
        "xs | tojson(indent=1000000)",
        "'%100000000d' is odd",
        "'%100000000d' is divisibleby(3)",
        "[[1], [2]] | sum(start=[])",
        "['a'] | sum",
        "('9' * 2000) | int * 1",
        "xs | map('_each', -100, 0)",
        "xs | map('nope')",
        "xs | map(attribute='__class__') | list",
        "raw | list | tojson | length * raw",
        "raw | string",
        "raw | upper",
        "raw | tojson",
        "n | list",
        "n | items",
        "n | join",
        "d.x | length",
        "d.x | upper",
        "xs | join(d.x)",
        "d.x is odd",
    ],
)
def test_refuses_what_grows_or_leads_out(expression: str) -> None:
    """Filters that could grow without bound are bounded; nothing leads out of the data."""
    with pytest.raises(InvalidInput, match="failed"):
        _evaluate(f"{{{{ {expression} }}}}")


def test_has_nothing_random_nor_of_html() -> None:
    """Results depend on inputs alone, and text stays text."""
    unwanted = {"attr", "random", "safe", "escape", "e", "urlize", "xmlattr", "striptags", "pprint"}
    assert not unwanted & FILTERS.keys()
    assert not {"callable", "sameas", "escaped", "filter", "test"} & TESTS.keys()
