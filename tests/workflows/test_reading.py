"""Reading: which names an expression reads from outside."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import TemplateSyntaxError

from torchloom_workflows.meter import Meter
from torchloom_workflows.reading import Read, find_reads
from torchloom_workflows.sandbox import SANDBOX, MeteredContext


def _reads(source: str) -> list[tuple[str, tuple[str | int, ...]]]:
    return [(read.name, read.keys) for read in find_reads(SANDBOX.parse(source))]


@pytest.mark.parametrize(
    ("source", "reads"),
    [
        ("{{ a.text }}", [("a", ("text",))]),
        ("{{ a['b c'][0].d }}", [("a", ("b c", 0, "d"))]),
        ("{{ a[-1].d }}", [("a", (-1, "d"))]),
        ("{{ a[-b].d }}", [("b", ()), ("a", ())]),
        ("{{ a.items() }}", [("a", ())]),
        ("{{ a.text.split(b.c) }}", [("a", ("text",)), ("b", ("c",))]),
        ("{{ a[b.k].x }}", [("b", ("k",)), ("a", ())]),
        ("{{ a.x[1:b.n] }}", [("b", ("n",)), ("a", ("x",))]),
        ("{{ a.x | default(b.y) }}", [("a", ("x",)), ("b", ("y",))]),
        ("{{ a.x is defined and b.y is none }}", [("a", ("x",)), ("b", ("y",))]),
        ("{% for p in a.docs %}{{ p.x }}{{ loop.index }}{% endfor %}", [("a", ("docs",))]),
        ("{% for a in a.docs %}{{ a.x }}{% endfor %}{{ a.y }}", [("a", ("docs",)), ("a", ("y",))]),
        (
            "{% for x in a.b if x > c.d %}{% else %}{{ x }}{% endfor %}",
            [("a", ("b",)), ("c", ("d",)), ("x", ())],
        ),
        ("{% set x = a.b %}{{ x.c }}", [("a", ("b",))]),
        ("{{ x }}{% set x = 1 %}{{ x }}", [("x", ())]),
        ("{% set x, y = a.b %}{{ x }}{{ y }}{{ z }}", [("a", ("b",)), ("z", ())]),
        (
            "{% set x %}{{ a.b }}{% set c = 1 %}{% endset %}{{ x }}{{ c }}",
            [("a", ("b",)), ("c", ())],
        ),
        ("{% for i in [1] %}{% set x = 1 %}{% endfor %}{{ x }}", [("x", ())]),
        (
            "{% with x = a.b, y = x %}{{ x }}{{ y }}{% endwith %}{{ x }}",
            [("a", ("b",)), ("x", ()), ("x", ())],
        ),
        ("{% filter replace(a.b, 'x') %}{{ c.d }}{% endfilter %}", [("c", ("d",)), ("a", ("b",))]),
        ("{% if a.b %}{% set x = 1 %}{% else %}{% set x = 2 %}{% endif %}{{ x }}", [("a", ("b",))]),
        (
            "{% set ns = namespace(n=a.b) %}{% set ns.n = 1 %}{{ ns.n }}",
            [("namespace", ()), ("a", ("b",))],
        ),
        ("{{ loop }}", [("loop", ())]),
        ("{% raw %}{{ a.b }}{% endraw %}{# {{ a.b }} #}", []),
    ],
)
def test_follows_scopes(source: str, reads: list[object]) -> None:
    """What an expression sets itself is no read, where and as long as it is set."""
    assert _reads(source) == reads


def test_marks_what_may_have_been_set() -> None:
    """A name that one branch sets may be read from outside, or not."""
    source = "{% if a %}{% set x = 1 %}{% elif b %}{% set y = 1 %}{% endif %}{{ x }}{{ y }}"
    reads = find_reads(SANDBOX.parse(source))
    assert [(read.name, read.is_maybe) for read in reads] == [
        ("a", False),
        ("b", False),
        ("x", True),
        ("y", True),
    ]


def test_tells_the_line() -> None:
    """Lines count within the expression."""
    assert find_reads(SANDBOX.parse("a\n{{ b }}\n{{\nc.d }}")) == [
        Read("b", (), 2),
        Read("c", ("d",), 4),
    ]


_NAMES = st.sampled_from(["a", "b", "x", "y"])
_EXPRESSIONS = st.recursive(
    _NAMES | st.just("1"),
    lambda inner: st.one_of(
        inner.map("{}.k".format),
        inner.map("({})".format),
        st.tuples(inner, inner).map("{0[0]} + {0[1]}".format),
        st.tuples(inner, inner).map("{0[0]}[{0[1]}]".format),
        st.tuples(inner, inner).map("{0[0]} | default({0[1]})".format),
        st.tuples(inner, inner, inner).map("{0[0]} if {0[1]} else {0[2]}".format),
        inner.map("[{}]".format),
    ),
    max_leaves=4,
)
_STATEMENTS = st.recursive(
    _EXPRESSIONS.map("{{{{ {} }}}}".format)
    | st.tuples(_NAMES, _EXPRESSIONS).map("{{% set {0[0]} = {0[1]} %}}".format),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map("".join),
        st.tuples(_NAMES, _EXPRESSIONS, inner).map(
            "{{% for {0[0]} in {0[1]} %}}{0[2]}{{% endfor %}}".format
        ),
        st.tuples(_EXPRESSIONS, inner, inner).map(
            "{{% if {0[0]} %}}{0[1]}{{% else %}}{0[2]}{{% endif %}}".format
        ),
        st.tuples(_NAMES, _EXPRESSIONS, inner).map(
            "{{% with {0[0]} = {0[1]} %}}{0[2]}{{% endwith %}}".format
        ),
        st.tuples(_NAMES, inner).map("{{% set {0[0]} %}}{0[1]}{{% endset %}}".format),
    ),
    max_leaves=6,
)


def _render(source: str, scope: Mapping[str, object]) -> str:
    context = MeteredContext(SANDBOX, dict(scope), None, {})
    context.meter = Meter()
    try:
        return "".join(SANDBOX.from_string(source).root_render_func(context))
    except Exception as error:  # noqa: BLE001 - any outcome will do, as long as it is the same
        return repr(error)


@given(_STATEMENTS)
def test_misses_no_name_that_makes_a_difference(source: str) -> None:
    """A template gives the same with the names that were found as with every name there is."""
    try:
        found = {read.name for read in find_reads(SANDBOX.parse(source))}
    except TemplateSyntaxError:
        return
    scope = {name: {"k": [1, 2], "a": name, 1: 3} for name in "abxy"}
    few = {name: value for name, value in scope.items() if name in found}
    assert _render(source, few) == _render(source, scope)
