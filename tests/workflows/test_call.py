"""Call: what a node calls."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node

from torchloom.graph import ModelCall, TemplateCall, WorkflowCall
from torchloom_workflows.call import split_reference


def test_splits_references() -> None:
    """`name@version` names a version; a name alone leaves it open."""
    assert split_reference("llama@12") == ("llama", 12)
    assert split_reference("llama") == ("llama", None)


@pytest.mark.parametrize(
    ("node", "call"),
    [
        ("{model: llama, inputs: {prompt: x}}", ModelCall("llama")),
        ("{model: llama@1, inputs: {prompt: x}}", ModelCall("llama", 1)),
        ("{function: 'shop.tools:price', inputs: {any: 1}}", ModelCall("shop.tools:price")),
    ],
)
def test_finds_what_is_called(node: str, call: object) -> None:
    """A function is called as the model of its path."""
    assert build(with_node(node)).nodes["a"].call == call


def test_calls_templates_and_workflows() -> None:
    """Templates and other workflows are calls as well."""
    inner = build(with_node("{template: 'hi'}").replace("name: w", "name: inner"))
    assert isinstance(inner.nodes["a"].call, TemplateCall)
    outer = build(with_node("{workflow: inner@1}", outputs="{{ a.o }}"), inner)
    assert outer.nodes["a"].call == WorkflowCall("inner", 1)
    assert outer.nodes["a"].outputs == ("o",)


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        (
            "{}",
            "3:6: This node calls nothing. Give it one of: model, function, template, workflow.",
        ),
        (
            "{model: llama, template: x}",
            "3:6: A node calls one thing, and this one has 'model' and 'template'. Keep one.",
        ),
        ("{model: lama}", "3:14: There is no model 'lama'. Did you mean 'llama'?"),
        ("{model: minilm@2, inputs: {text: x}}", "3:14: Model 'minilm' has no version 2."),
        (
            "{function: 'os:system'}",
            (
                "3:17: The module 'os' is not among those whose functions may be called (these "
                "are: shop.tools). Whoever runs the server can allow it."
            ),
        ),
        ("{workflow: w}", "3:17: Workflow 'w' calls itself here."),
        ("{workflow: w@9}", "3:17: Workflow 'w' calls itself here."),
        ("{workflow: iner}", "3:17: There is no workflow 'iner'. Did you mean 'inner'?"),
        ("{workflow: inner@3}", "3:17: Workflow 'inner' has no version 3."),
    ],
)
def test_finds_what_cannot_be_called(node: str, fault: str) -> None:
    """A node calls exactly one thing, which exists and is allowed."""
    inner = build(with_node("{template: x}").replace("name: w", "name: inner"))
    assert find_faults(with_node(node), inner) == [fault]


def test_refuses_a_workflow_that_leads_back() -> None:
    """A workflow must not call itself through another, in any version."""
    first = build(with_node("{template: x}"))
    middle = build("name: middle\nnodes: {b: {workflow: w}}\noutputs: {o: '{{ b.o }}'}\n", first)
    again = with_node("{workflow: middle}") + "version: 2\n"
    assert find_faults(again, middle, first) == [
        "3:17: Workflow 'middle' calls 'w' in turn, which would never end."
    ]


@pytest.mark.parametrize(
    ("template", "outputs"),
    [
        ("'hi {{ inputs.x }}'", ("text", "value")),
        ("'{{ inputs.x }}'", ("text", "value")),
        ("['{{ inputs.x }}']", ("value",)),
        ("{k: '{{ inputs.x }}'}", ("value",)),
    ],
)
def test_knows_what_templates_give(template: str, outputs: tuple[str, ...]) -> None:
    """A template gives its value, and as text too where it may be a string."""
    text = with_node(f"{{template: {template}}}", inputs="{x: {}}")
    assert build(text.replace("'{{ a }}'", "'{{ a.value }}'")).nodes["a"].outputs == outputs
