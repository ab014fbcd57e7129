"""Expression: values of a file to bindings, or faults."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import to_document

from torchloom.graph import Constant
from torchloom_workflows.expression import MAX_SOURCE_CHARS, Names, Parsed, parse_value
from torchloom_workflows.loader import load_document


_NAMES = Names(frozenset({"answer", "query"}), frozenset({"inputs"}), {"item": " Ask for it."})


def _parse(data: object) -> Parsed:
    return parse_value(to_document(data), _NAMES)


def _faults(data: object) -> list[str]:
    return [str(fault) for fault in _parse(data).faults]


@pytest.mark.parametrize(
    ("data", "form"),
    [
        (None, "constant"),
        (3, "constant"),
        ("plain", "constant"),
        ("plain { text }", "constant"),
        ("{% raw %}{{ x }}{% endraw %}", "constant"),
        ("{# nothing #}", "constant"),
        ([1, {"a": "b"}], "constant"),
        ("{{ answer.text }}", "path"),
        ("{{ answer['text'][0] }}", "path"),
        ("{{ answer.text }}\n", "path"),
        ("{# why #}{{ answer }}", "path"),
        ("{{ answer.text | upper }}", "native"),
        ("{{ answer[inputs.k] }}", "native"),
        ("{{ 1 }}", "native"),
        ("{{ range(3) }}", "native"),
        (" {{ answer.text }}", "text"),
        ("{{ answer.text }}{{ query.text }}", "text"),
        ("{% if inputs.x %}{{ answer.text }}{% endif %}", "text"),
        (["{{ answer.text }}", 1], "list"),
        ({"a": ["{{ answer.text }}"]}, "mapping"),
    ],
)
def test_tells_forms_apart(data: object, form: str) -> None:
    """One `{{ … }}` alone is native; a trailing line break and comments do not count as text."""
    assert _parse(data).faults == ()
    assert _parse(data).form == form


def test_keeps_constants_as_they_are() -> None:
    """What has no expression in it is the value itself, line breaks and all."""
    constants: list[object] = ["text\n", {"a": [1, None, {"b": "c\n"}]}, [], {}]
    for data in constants:
        assert _parse(data).binding == Constant(data)


def test_unwraps_raw_text() -> None:
    """`raw` keeps braces out of the hands of Jinja2."""
    assert _parse("{% raw %}{{ x }}{% endraw %}").binding == Constant("{{ x }}")


def test_reads_nodes_alone() -> None:
    """`reads` holds the nodes; inputs are no node, and functions neither."""
    parsed = _parse({"a": "{{ answer.text }}", "b": ["{{ inputs.x + query.n }} {{ range(3) }}"]})
    assert parsed.binding.reads == {"answer", "query"}
    reads = [(placed.read.name, placed.read.keys) for placed in parsed.reads]
    assert reads == [("answer", ("text",)), ("inputs", ("x",)), ("query", ("n",))]


def test_places_reads_and_faults() -> None:
    """A read and a fault stand where their value stands."""
    document = load_document("a:\n  - x\n  - '{{ answer.text }}'\n  - '{{ nope }}'\n", "f.yaml")
    parsed = parse_value(document, _NAMES)
    assert str(parsed.reads[0].document.fault("here")) == "f.yaml:3:5: here"
    assert str(parsed.faults[0]).startswith("f.yaml:4:5: The expression '{{ nope }}'")


def test_finds_every_unknown_name() -> None:
    """Each unknown name is told once, with the nearest name or where it would be known."""
    source = "{{ anwser.text }} {{ item }} {{ anwser.x }} {{ q() }}"
    prefix = f"test.yaml:7:3: The expression '{source}': There is nothing named "
    assert [fault.removeprefix(prefix) for fault in _faults(source)] == [
        "'anwser' here. Did you mean 'answer'?",
        "'item' here. Ask for it.",
        "'q' here. Known: answer, inputs, query.",
    ]


def test_finds_the_faults_of_every_part() -> None:
    """Lists and mappings are read to their ends."""
    assert len(_faults({"a": ["{{ x }}", "{{ y }"], "b": "{% z %}"})) == 3


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ answer.text", "unexpected end of template"),
        ("{{ }}", "Expected an expression"),
        ("{% if %}", "Expected an expression"),
        ("{% for x in inputs.xs %}", "Unexpected end of template"),
        ("a\nb {{ answer. }}", "(line 2 of it)"),
        ("{{ " + "9" * 5000 + " }}", "too long"),
        ("{{ " + "(" * 500 + "1" + ")" * 500 + " }}", "too deep"),
        ("{{ 1 }}" + "x" * MAX_SOURCE_CHARS, "more than 65536 characters"),
        ("{% for x in [1] %}{% set loop = 1 %}{{ loop }}{% endfor %}", "special loop variable"),
    ],
)
def test_names_the_expression_in_its_faults(source: str, words: str) -> None:
    """Errors of syntax and of size are faults, not exceptions."""
    faults = _faults(source)
    assert len(faults) == 1
    assert faults[0].startswith("test.yaml:7:3: The expression ")
    assert words in faults[0]
    assert len(faults[0]) < 300
