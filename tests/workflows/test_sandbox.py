"""Sandbox: nothing leads out of it, and nothing runs on in it."""

from __future__ import annotations

import os
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_fakes.catalog import to_document

from torchloom.errors import InvalidInput
from torchloom.graph import MissingValue
from torchloom_workflows.expression import Names, parse_value
from torchloom_workflows.meter import MAX_CHARS


class Tensor:
    """Stands for an array: it has methods that write files."""

    def tofile(self, path: str) -> None:
        """Be out of reach."""
        raise AssertionError(path)

    def __len__(self) -> int:
        """Have a length."""
        return 2

    def __getitem__(self, index: int) -> float:
        """Be indexed."""
        return [1.0, 2.0][index]


_SCOPE: dict[str, object] = {
    "s": "text",
    "xs": [1, 2],
    "d": {"k": {"x": 1}, "f": open, "m": os, "t": Tensor()},
    "a": {"text": "hi"},
}
_NAMES = Names(nodes=frozenset({"a", "b"}), others=frozenset({"s", "xs", "d"}))


def _evaluate(source: str) -> object:
    parsed = parse_value(to_document(source), _NAMES)
    if parsed.faults:
        raise InvalidInput(f"refused: {parsed.faults[0].message}")
    return parsed.binding.evaluate(_SCOPE)


@pytest.mark.parametrize(
    "source",
    [
        "{{ s.__class__ }}",
        "{{ s['__class__'] }}",
        "{{ s['__cl' ~ 'ass__'] }}",
        "{{ s.upper.__self__ }}",
        "{{ s.upper }}",
        "{{ [s.upper] }}",
        "{{ range.run }}",
        "{{ range.__globals__ }}",
        "{{ range }}",
        "{{ {'x': range} }}",
        "{{ d.f('/etc/passwd') }}",
        "{{ d.f.__name__ }}",
        "{{ d.m.environ }}",
        "{{ d.m.system('true') }}",
        "{{ d.t.tofile('/tmp/x') }}",
        "{{ d.t ~ '' }}",
        "{{ 'x{}'.format(d) }}",
        "{{ '{0.__class__}'.format(d) }}",
        "{{ xs | map('format', d) | list }}",
        "{{ namespace().__class__ }}",
        "{{ namespace(a=1) }}",
        "{% for x in xs %}{{ loop.__class__ }}{% endfor %}",
        "{% for x in xs %}{{ loop._iterator }}{% endfor %}",
        "{% for x in xs %}{{ loop(xs) }}{% endfor %}",
        "{% for x in xs %}{{ loop }}{% endfor %}",
        "{% for x in xs %}{{ [loop] }}{% endfor %}",
        "{% set loop = 1 %}{% for x in xs %}{% set loop = 2 %}{{ loop }}{% endfor %}",
        "{{ self }}",
        "{{ self._TemplateReference__context }}",
        "{{ cycler(1) }}",
        "{{ lipsum(1000000) }}",
        "{{ environment }}",
        "{{ context }}",
        "{{ xs.append(3) }}",
        "{{ d.update({'k': 1}) }}",
        "{{ ().__class__.__bases__ }}",
        "{{ (1).__class__ }}",
    ],
)
def test_leads_nowhere(source: str) -> None:
    """There are data, and a closed set of functions; no attribute of Python is in reach."""
    before = repr(_SCOPE["xs"]), len(_SCOPE)
    with pytest.raises(InvalidInput):
        _evaluate(source)
    assert (repr(_SCOPE["xs"]), len(_SCOPE)) == before


def test_passes_on_what_it_cannot_work_with() -> None:
    """What is no JSON can be handed on, counted and indexed."""
    assert _evaluate("{{ d.t }}") is _SCOPE["d"]["t"]  # type: ignore[index]  # a mapping
    assert _evaluate("{{ d.t[1] }}") == 2.0
    assert _evaluate("{{ d.t | length }}") == 2


_LOOP = "{{% for i in {} %}}{}{{% endfor %}}"
_GROW = (
    "{{% set ns = namespace(v={}) %}}{{% for i in range(60) %}}{{% set ns.v = {} %}}{{% endfor %}}"
    "{}"
)


@pytest.mark.parametrize(
    "source",
    [
        "{{ 'a' * 10**9 }}",
        "{{ 10 ** (10 ** 10) }}",
        "{{ [0] * 10**9 }}",
        "{{ range(10**9) }}",
        "{{ range(10**18) | length }}",
        _LOOP.format(
            "range(1000)", _LOOP.format("range(1000)", _LOOP.format("range(1000)", "{{ i }}"))
        ),
        _LOOP.format("range(100000)", "{% set x = i %}"),
        _LOOP.format("range(10000)", "{{ 'a' * 1000 }}"),
        _LOOP.format("range(10000)", "x" * 1000),
        "{% set v %}" + _LOOP.format("range(10000)", "x" * 1000) + "{% endset %}",
        "{% filter upper %}" + _LOOP.format("range(10000)", "{{ 'a' * 1000 }}") + "{% endfilter %}",
        "{% set x = 'a' * 4000000 %}" + _LOOP.format("range(100)", "{{ x | upper | length }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x == x[:] }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ -1 in x }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x | sort | first }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x[1:] | first }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x | join | length }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x | string | length }}"),
        "{% set x = range(9999) %}" + _LOOP.format("range(9999)", "{{ x ~ '' | length }}"),
        "{% set x = 'ab' * 99999 %}" + _LOOP.format("range(9999)", "{{ x.count('ba') }}"),
        "{% set x = 'ab' * 99999 %}" + _LOOP.format("range(9999)", "{{ x.split('b') | length }}"),
        _GROW.format("'aaaa'", "ns.v + ns.v", ""),
        _GROW.format("'aaaa'", "ns.v ~ ns.v", ""),
        _GROW.format("[0]", "ns.v + ns.v", ""),
        _GROW.format("2", "ns.v * ns.v", ""),
        _GROW.format("[0]", "[ns.v, ns.v]", "{{ ns.v }}"),
        _GROW.format("[0]", "[ns.v, ns.v]", "{{ ns.v == ns.v }}"),
        _GROW.format("[0]", "[ns.v, ns.v]", "{{ ns.v | tojson }}"),
        _GROW.format("[0]", "[ns.v, ns.v]", "{{ ns.v in ns.v }}"),
        _GROW.format("[0]", "{'a': ns.v, 'b': ns.v}", "{{ ns.v | string }}"),
        _GROW.format("[0]", "dict(a=ns.v, b=ns.v)", "{{ ns.v | upper }}"),
        _GROW.format("[0]", "[ns.v, ns.v]", "{{ ns.v ~ 'x' }}"),
        "{{ " + "[" * 50 + "range(9)" + "]" * 50 + " * 99999 }}",
    ],
)
def test_ends_what_would_not_end(source: str) -> None:
    """Work, text and memory are bounded; what passes a bound fails, by name."""
    with pytest.raises(InvalidInput, match=r"too long|too deep|bits|deep"):
        _evaluate(source)


def test_bounds_native_results_too() -> None:
    """A result that shares its parts is as large as it would be written out."""
    doubled = "range(9999)"
    for _ in range(12):
        doubled = f"[{doubled}] * 4"
    with pytest.raises(InvalidInput, match="too long"):
        _evaluate(f"{{{{ {doubled} }}}}")


def test_lets_large_work_pass() -> None:
    """The bounds are far above what prompts need."""
    source = "{% for i in range(5000) %}[{{ loop.index }}] {{ s }}, {{ i * 2 }}\n{% endfor %}"
    assert len(str(_evaluate(source))) > 80_000
    assert len(str(_evaluate("{{ 'x' * 4000000 }}"))) == MAX_CHARS


_PIECES = st.sampled_from(
    [
        "{{ ",
        " }}",
        "{% ",
        " %}",
        "for i in ",
        "endfor",
        "if ",
        "else",
        "endif",
        "set x = ",
        "a",
        "b",
        "s",
        "xs",
        ".text",
        "['k']",
        "[1:]",
        "(",
        ")",
        "[",
        "]",
        "{",
        "}",
        ",",
        ":",
        "|",
        "default('')",
        "upper",
        "join",
        " + ",
        " * ",
        " ** ",
        " % ",
        " ~ ",
        " == ",
        " in ",
        " is ",
        "defined",
        "not ",
        "range(9)",
        "9",
        "'x'",
        "loop.index",
        "namespace(v=1)",
        ".items()",
        "\n",
        "{# ",
        " #}",
        "raw",
        "endraw",
        "__class__",
        "with ",
    ]
)


@given(st.lists(_PIECES, max_size=14).map("".join))
def test_raises_nothing_of_its_own(source: str) -> None:
    """Whatever is written, there are faults, a value, or one of the two errors of the contract."""
    parsed = parse_value(to_document(source), _NAMES)
    if parsed.faults:
        return
    scope = {"s": "text", "xs": [1, 2], "d": {}, "a": {"text": "hi"}}
    value: object = None
    skipped = "b"
    try:
        value = parsed.binding.evaluate(scope)
    except InvalidInput:
        return
    except MissingValue as missing:
        skipped = missing.node
    assert skipped == "b"
    # Plain data can be pickled; functions made here, loops and undefined values cannot.
    assert pickle.loads(pickle.dumps(value)) == value
