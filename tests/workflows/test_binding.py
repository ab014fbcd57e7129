"""Binding: working values out."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from workflow_fakes.catalog import to_document

from torchloom.errors import InvalidInput
from torchloom.graph import MissingValue
from torchloom_workflows.expression import Names, parse_value


_NAMES = Names(frozenset({"answer", "query"}), frozenset({"inputs", "item", "index"}))
_SCOPE: dict[str, object] = {
    "inputs": {"n": 3, "s": "x", "xs": [1, 2], "items": [9]},
    "answer": {"text": "hi", "items": ["p", "q"], "deep": {"list": [{"k": "v"}]}},
    "item": "thing",
    "index": 2,
}


def _evaluate(data: object, scope: dict[str, object] = _SCOPE) -> object:
    parsed = parse_value(to_document(data), _NAMES)
    assert parsed.faults == ()
    return parsed.binding.evaluate(scope)


_COUNT = (
    "{% set ns = namespace(n=0) %}{% for x in inputs.xs %}{% set ns.n = ns.n + x %}{% endfor %}"
    "{{ ns.n }}"
)


@pytest.mark.parametrize(
    ("data", "value"),
    [
        ("{{ inputs.n }}", 3),
        ("{{ inputs.xs }}", [1, 2]),
        ("{{ inputs.items }}", [9]),
        ("{{ inputs.items() | length }}", 4),
        ("{{ answer.items[1] }}", "q"),
        ("{{ answer.deep.list[0].k }}", "v"),
        ("{{ answer.deep['list'][-1]['k'] }}", "v"),
        ("{{ inputs.n + index }}", 5),
        ("{{ inputs.n > 2 }}", True),
        ("{{ none }}", None),
        ("{{ (1, 2) }}", (1, 2)),
        ("{{ '3' }}", "3"),
        ("{{ 'a' if inputs.n > 9 else 'b' }}", "b"),
        ("{{ 'a' if inputs.n > 9 }}", ""),
        ("n = {{ inputs.n }}", "n = 3"),
        ("{{ inputs.xs }}!", "[1, 2]!"),
        ("{{ inputs.n }}{{ inputs.n }}", "33"),
        ("{{ item }}-{{ index }}", "thing-2"),
        ("{% for x in inputs.xs %}{{ loop.index }}{{ ',' if not loop.last }}{% endfor %}", "1,2"),
        (_COUNT, "3"),
        ("{% if inputs.n is odd %}odd{% else %}even{% endif %}", "odd"),
        ("{% set t %}<{{ inputs.s }}>{% endset %}{{ t }}{{ t }}", "<x><x>"),
        ("{% for x in inputs.xs %}{{ loop.cycle('a', 'b') }}{% endfor %}", "ab"),
        (
            {"a": ["{{ inputs.n }}", {"b": "{{ item }}"}], "c": 1},
            {"a": [3, {"b": "thing"}], "c": 1},
        ),
    ],
)
def test_works_values_out(data: object, value: object) -> None:
    """One `{{ … }}` gives the object, text a string, and lists and mappings their parts."""
    worked_out = _evaluate(data)
    assert worked_out == value
    assert type(worked_out) is type(value)


def test_hands_objects_on() -> None:
    """A look-up gives the very object, whatever it is."""
    thing = object()
    assert _evaluate("{{ inputs.x }}", {"inputs": {"x": thing}}) is thing


@pytest.mark.parametrize(
    "source",
    [
        "{{ query }}",
        "{{ query.text }}",
        "{{ query.a.b[0] }}",
        "a {{ query.text }}",
        "{{ query.n + 1 }}",
        "{{ [query.text] }}",
        "{% for x in query.xs %}{% endfor %}",
        "{{ query.text or 'x' }}",
        "{{ query == 1 }}",
    ],
)
def test_raises_missing_value_for_a_skipped_node(source: str) -> None:
    """Reading a node that was skipped is told apart from every other failure."""
    with pytest.raises(MissingValue) as caught:
        _evaluate(source)
    assert caught.value.node == "query"


@pytest.mark.parametrize(
    ("source", "value"),
    [
        ("{{ query.text | default('none') }}", "none"),
        ("{{ query.a.b[0].c | d(answer.text) }}", "hi"),
        ("{{ query is defined }}", False),
        ("{{ query.text is undefined }}", True),
        ("{{ query.text if query is defined else answer.text }}", "hi"),
        ("{% if query is defined %}{{ query.text }}{% else %}no{% endif %}", "no"),
        ("{{ answer.text or query.text }}", "hi"),
    ],
)
def test_lets_default_stand_in_for_a_skipped_node(source: str, value: object) -> None:
    """`default()`, `is defined`, and branches that are not taken do without the node."""
    assert _evaluate(source) == value


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{{ answer.txet }}", "there is no 'txet'. Did you mean 'text'?"),
        ("{{ answer.items[7] }}", "there is no item 7: there are 2."),
        ("{{ inputs.n.x }}", "a int has no 'x'"),
        ("{{ 1 / 0 }}", "division by zero."),
        ("{{ inputs.xs | first + 'x' }}", "there is no int + str."),
        ("{{ inputs.s() }}", "a dict has no method 's'."),
        ("{{ inputs.s.uper() }}", "a str has no method 'uper'. Did you mean 'upper'?"),
        ("{{ item() }}", "a str cannot be called."),
        ("{% for x in inputs.n %}{% endfor %}", "a int cannot be looped over."),
        ("{{ inputs.xs | batch('x') }}", "batch() needs a whole number"),
        ("{{ [1] | batch(1, 2, 3) }}", "batch() takes"),
    ],
)
def test_names_the_expression_that_fails(source: str, words: str) -> None:
    """The error holds the expression, its place and what was wrong."""
    with pytest.raises(InvalidInput) as caught:
        _evaluate(["x", source])
    assert caught.value.message.startswith(f"The expression {source!r} (test.yaml:7) failed: ")
    assert words in caught.value.message


def test_says_what_is_not_in_scope() -> None:
    """A name that is no node and is not there is an error, not a skip."""
    with pytest.raises(InvalidInput, match="there is no 'item' here"):
        _evaluate("{{ item }}", {"inputs": {}})
    with pytest.raises(InvalidInput, match="there is no 'item' here"):
        _evaluate("a {{ item }}", {"inputs": {}})


def test_shares_one_meter_among_the_parts_of_a_value() -> None:
    """A list of large texts is bounded as a whole."""
    half = "{{ 'x' * 2000000 }} "
    assert len(str(_evaluate([half])[0])) == 2_000_001  # type: ignore[index]  # a list
    with pytest.raises(InvalidInput, match="too long"):
        _evaluate([half, {"a": half}, half])


_KEYS = st.sampled_from(["text", "items", "deep", "list", "k", "keys", "nope", 0, 1, -1, 5])


@given(st.sampled_from(["inputs", "answer", "query", "item"]), st.lists(_KEYS, max_size=4))
def test_looks_up_as_jinja2_would(name: str, keys: list[str | int]) -> None:
    """The quick way for plain look-ups means what the template would."""
    path = name + "".join(f"[{key!r}]" for key in keys)

    def outcome(source: str) -> object:
        try:
            return _evaluate(source)
        except MissingValue as missing:
            return missing.node
        except InvalidInput as error:
            return error.message.partition(" failed: ")[2]

    parsed = parse_value(to_document(f"{{{{ {path} }}}}"), _NAMES)
    assert parsed.form == "path"
    assert outcome(f"{{{{ {path} }}}}") == outcome(f"{{{{ ({path}) if true else 0 }}}}")
