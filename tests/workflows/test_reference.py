"""Reference: whether what is read is there."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node


_LLM = "{model: llama, inputs: {prompt: x}}"


@pytest.mark.parametrize(
    ("expression", "fault"),
    [
        ("{{ a.txet }}", "Node 'a' (model 'llama') gives no 'txet'. Did you mean 'text'?"),
        (
            "{{ a.txet | default('') }}",
            "Node 'a' (model 'llama') gives no 'txet'. Did you mean 'text'?",
        ),
        ("{{ a.usage.prmpt }}", "a.usage has no 'prmpt' in it. Did you mean 'prompt'?"),
        ("{{ a.text.x }}", "a.text is a string: it has no 'x' in it."),
        ("{{ a[0] }}", "Node 'a' (model 'llama') gives no '0'. Known: text, usage."),
        ("{{ a.text }} {{ inputs.qq }}", "There is no input 'qq'. Did you mean 'q'?"),
        ("{{ a.text }} {{ inputs.q.x }}", "inputs.q is a string: it has no 'x' in it."),
        ("{{ a.text }} {{ b.text }}", None),
    ],
)
def test_finds_reads_of_nothing(expression: str, fault: str | None) -> None:
    """Outputs that a kind does not give, and inputs that are not declared, are found."""
    text = with_node(_LLM, outputs=expression.replace("'", "''"), inputs="{q: {type: string}}")
    faults = [found.partition(": ")[2] for found in find_faults(text)]
    if fault is not None:
        assert faults == [fault]
    else:
        assert len(faults) == 1
        assert "There is nothing named 'b' here." in faults[0]


def test_says_when_there_are_no_inputs() -> None:
    """A workflow without inputs says so."""
    faults = find_faults(with_node(_LLM, outputs="{{ a.text }} {{ inputs.x }}"))
    assert faults == ["4:14: There is no input 'x'. The workflow declares none."]


@pytest.mark.parametrize(
    "expression",
    [
        "{{ a }}",
        "{{ a.text[0] }}",
        "{{ a.text.upper() }}",
        "{{ a.usage.prompt }}",
        "{{ a['te' ~ 'xt'] }}",
        "{{ inputs['q'] }} {{ a.text }}",
        "{{ inputs }} {{ a.text }}",
    ],
)
def test_lets_pass_what_may_be_there(expression: str) -> None:
    """What cannot be told beforehand is left to the run."""
    build(with_node(_LLM, outputs=expression.replace("'", "''"), inputs="{q: {}}"))


@pytest.mark.parametrize("node", ["{model: module}", "{function: 'shop.tools:price'}"])
def test_leaves_open_what_open_calls_give(node: str) -> None:
    """Functions and modules may give anything."""
    build(with_node(node, outputs="{{ a.anything.at.all }}"))


@pytest.mark.parametrize(
    ("foreach", "fits"),
    [
        ("'{{ inputs.xs }}'", True),
        ("'{{ inputs.any }}'", True),
        ("'{{ range(3) }}'", True),
        ("[a, b]", True),
        ("'{{ inputs.s }}'", False),
        ("'{{ inputs.n }}'", False),
        ("'a {{ inputs.s }}'", False),
        ("abc", False),
    ],
)
def test_goes_through_lists_alone(foreach: str, *, fits: bool) -> None:
    """What `foreach` goes through must be a list, as far as that is known."""
    text = with_node(
        f"{{template: x, foreach: {foreach}}}",
        inputs="{xs: {type: array}, any: {}, s: {type: string}, n: {type: integer}}",
    )
    if fits:
        build(text)
    else:
        assert "'foreach' must be of type array" in find_faults(text)[0]
