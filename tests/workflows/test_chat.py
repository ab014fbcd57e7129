"""Chat: the section that makes a workflow callable as a model."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import build, find_faults, with_node


INPUTS = "{q: {type: string}, n: {type: integer, default: 1}}"


def chat(section: str, node: str = "{template: x}") -> str:
    """Write a workflow of one node, that is streamed, with a chat section on line 7."""
    return with_node(node, inputs=INPUTS) + f"stream: a\nchat: {section}\n"


def test_gives_inputs_from_messages() -> None:
    """Each value is worked out over the messages, all of them."""
    section = (
        "{q: \"{{ messages | selectattr('role', 'equalto', 'user') | map(attribute='content') "
        "| join(' / ') }}\", n: '{{ messages | length }}'}"
    )
    graph = build(chat(section))
    said = [("system", "s"), ("user", "a"), ("assistant", "b"), ("user", "c")]
    scope = {"messages": [{"role": role, "content": content} for role, content in said]}
    values = {name: value.evaluate(scope) for name, value in graph.chat.items()}

    assert values == {"q": "a / c", "n": 4}


def test_needs_every_input_that_has_no_default() -> None:
    """Those with a default may be left out; a constant must fit."""
    assert list(build(chat("{q: x}")).chat) == ["q"]
    assert find_faults(chat("{n: x, z: 1}")) == [
        "7:7: The input 'q' is missing: it has no default, and must come from the chat.",
        "7:11: 'n' must be a whole number, not a string.",
        "7:14: There is no input 'z'. Known: n, q.",
    ]


def test_knows_messages_alone() -> None:
    """Neither inputs nor nodes can be read there; what is written is placed."""
    faults = find_faults(chat("{q: '{{ inputs.q }}', n: '{{ a.text }}'}"))
    assert "There is nothing named 'inputs' here" in faults[0]
    assert "There is nothing named 'a' here" in faults[1]
    assert [fault.split(": ")[0] for fault in faults] == ["7:11", "7:32"]


@pytest.mark.parametrize(
    ("node", "fault"),
    [
        ("{model: minilm, inputs: {text: x}}", "(model 'minilm') gives no text to answer a chat"),
        ("{template: ['{{ 1 }}']}", "(the template) gives no text to answer a chat"),
        ("{foreach: [x], template: x}", "has a `foreach`, and so writes no single answer"),
    ],
)
def test_refuses_a_node_that_answers_nothing(node: str, fault: str) -> None:
    """What is streamed must be text, and one text; the fault stands at the node's name."""
    (found,) = find_faults(chat("{q: x}", node))
    assert found.startswith("6:9: Node 'a' ")
    assert fault in found


@pytest.mark.parametrize(
    "node",
    [
        "{model: llama, inputs: {prompt: x}}",
        "{model: module}",
        "{function: 'shop.tools:f'}",
        "{template: x}",
    ],
)
def test_takes_a_node_that_may_answer(node: str) -> None:
    """A node that gives text, or might."""
    assert build(chat("{q: x}", node)).stream == ("a",)


def test_takes_several_nodes_that_answer() -> None:
    """Each of them is checked, and placed by its own name."""
    text = """\
name: w
nodes:
  a: {template: x}
  b: {template: ['{{ 1 }}']}
outputs: {o: x}
stream: [a, b, c]
chat: {}
"""
    assert find_faults(text) == [
        "6:13: Node 'b' (the template) gives no text to answer a chat with.",
        "6:16: There is no node 'c'. Known: a, b.",
    ]
    assert build(text.replace("['{{ 1 }}']", "x").replace(", c", "")).stream == ("a", "b")


def test_wants_sources_as_a_list() -> None:
    """The output `sources` is what an answer cites, where it is there."""
    text = chat("{q: x}").replace("outputs: {o:", "outputs: {sources:")
    text = text.replace("{{ a }}", "{{ a.text }}")
    assert find_faults(text) == ["4:20: 'sources' must be of type array, and this gives string."]
    assert find_faults(text.replace("{{ a.text }}", "s {{ a.text }}"))
    assert build(text.replace("{{ a.text }}", "{{ a.value }}"))
