"""Draft: a node by itself."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node

from torchloom.graph import TemplateCall, WorkflowCall
from torchloom_workflows.draft import RESERVED


@pytest.mark.parametrize("name", sorted(RESERVED - {"true", "false", "True", "False"}))
def test_keeps_names_that_expressions_need(name: str) -> None:
    """A node cannot take a name that means something in expressions."""
    text = f"name: w\nnodes:\n  {name}: {{template: x}}\noutputs: {{o: x}}\nstream: {name}\n"
    assert find_faults(text) == [
        f"3:3: {name!r} means something in expressions, and cannot be a node's name."
    ]


def test_gives_item_and_index_to_each_task() -> None:
    """In a foreach, inputs and params may read the item and its index."""
    node = build(
        with_node(
            "{model: llama, foreach: [x, y], inputs: {prompt: '{{ item }} {{ index }}'}, "
            "params: {max_tokens: '{{ index + 1 }}'}}"
        )
    ).nodes["a"]
    scope = {"item": "x", "index": 1}
    assert node.inputs["prompt"].evaluate(scope) == "x 1"
    assert node.params["max_tokens"].evaluate(scope) == 2


@pytest.mark.parametrize(
    ("node", "column"),
    [
        ("{template: '{{ item }}'}", 17),
        ("{model: llama, inputs: {prompt: '{{ index }}'}}", 38),
        ("{template: x, foreach: '{{ item }}'}", 29),
        ("{template: x, foreach: [1], limit: '{{ index }}'}", 41),
        ("{template: x, foreach: [1], when: '{{ item }}'}", 40),
    ],
)
def test_keeps_item_and_index_in_the_foreach(node: str, column: int) -> None:
    """Elsewhere they mean nothing, and the fault says where they do."""
    faults = find_faults(with_node(node))
    assert len(faults) == 1
    assert faults[0].startswith(f"3:{column}: ")
    assert faults[0].endswith(
        "It is there only in a node with `foreach`: in inputs, params and template."
    )


def test_gives_lists_of_outputs_from_a_foreach() -> None:
    """With foreach each output is a list, and lists can be read as such."""
    graph = build(
        "name: w\nnodes:\n  a: {model: llama, foreach: [x], inputs: {prompt: '{{ item }}'}}\n"
        "  b: {template: '{{ a.text[0] }} {{ a.usage[0].prompt }}'}\n"
        "outputs: {o: '{{ a.text }}', p: '{{ b.text }}'}\n"
    )
    assert graph.signature.outputs["o"] == {"type": "array", "items": {"type": "string"}}


def test_lets_templates_name_their_inputs() -> None:
    """A template's inputs are names in it."""
    node = build(
        with_node(
            "{template: '{{ who }}: {{ inputs.x }}', inputs: {who: '{{ inputs.x }}'}}",
            inputs="{x: {}}",
        )
    ).nodes["a"]
    assert isinstance(node.call, TemplateCall)
    assert node.call.template.evaluate({"who": "me", "inputs": {"x": 1}}) == "me: 1"


@pytest.mark.parametrize("name", ["a", "inputs", "'x y'", "loop"])
def test_keeps_template_inputs_apart_from_nodes(name: str) -> None:
    """A template's input cannot be named as what it could be mistaken for."""
    assert (
        "A template's input cannot be named"
        in find_faults(with_node(f"{{template: x, inputs: {{{name}: 1}}}}"))[0]
    )


def test_reads_repeat() -> None:
    """A loop over a workflow has an end, and a condition on its outputs."""
    inner = build(with_node("{template: x}").replace("name: w", "name: inner"))
    text = with_node("{workflow: inner, repeat: {until: '{{ outputs.o == 1 }}', max: 5}}")
    call = build(text, inner).nodes["a"].call
    assert isinstance(call, WorkflowCall)
    assert call.max_repeats == 5
    assert call.repeat_until is not None
    assert call.repeat_until.evaluate({"outputs": {"o": 1}}) is True
    assert find_faults(text.replace("outputs.o ", "outputs.oo "), inner)[0].startswith(
        "3:40: Workflow 'inner' gives no 'oo'."
    )
    assert (
        "There is nothing named 'inputs' here"
        in find_faults(text.replace("outputs.o ", "inputs.o "), inner)[0]
    )


@pytest.mark.parametrize(
    ("after", "fault"),
    [
        ("c", "3:27: There is no node 'c'. Known: a."),
        ("[a, c]", "3:31: There is no node 'c'. Known: a."),
    ],
)
def test_knows_what_comes_before(after: str, fault: str) -> None:
    """`after` names nodes."""
    assert fault in find_faults(with_node(f"{{template: x, after: {after}}}"))


@pytest.mark.parametrize("when", ["false", "no", "'{{ false'", "'{{ x.y }}'"])
def test_refuses_a_node_that_never_runs(when: str) -> None:
    """A condition that is no expression, and not `true`, cannot be meant."""
    faults = find_faults(with_node(f"{{template: x, when: {when}}}"))
    assert len(faults) == 1
    assert ("never runs" in faults[0]) is ("{{" not in when)


def test_takes_true_as_a_condition() -> None:
    """`when: true` may stand for an expression that was there before."""
    assert build(with_node("{template: x, when: true}")).nodes["a"].when is not None
