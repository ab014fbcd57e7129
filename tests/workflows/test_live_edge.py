"""LiveEdge: which foreach takes the items of a node while that node writes them."""

from __future__ import annotations

import pytest
from workflow_fakes.catalog import MODELS, build
from workflow_fakes.files import MULTI_IMAGE, RAG

from torchloom.graph import Graph
from torchloom.signature import Signature


def _build(source: str, reader: str = "", foreach: str = "{{ a.items }}") -> Graph:
    """Build a workflow of a source `a`, a reader `b` and another node `c`."""
    return build(f"""\
name: w
inputs: {{n: {{type: integer, default: 1}}}}
nodes:
  a: {{{source}}}
  b: {{template: "{{{{ item }}}}", foreach: "{foreach}"{reader}}}
  c: {{template: x}}
outputs: {{o: "{{{{ b.value }}}}", c: "{{{{ c.value }}}}", a: "{{{{ a }}}}"}}
""")


LLM = "model: llama, inputs: {prompt: x}"
WRITER = f"{LLM}, items: lines"
GENERATOR = "function: 'shop.tools:count'"


def test_finds_the_live_edge_of_the_documentation() -> None:
    """It is a fact of the reader; the edges are what they were."""
    graph = build(MULTI_IMAGE)
    assert {name: node.live for name, node in graph.nodes.items()} == {
        "prompts": None,
        "pictures": "prompts",
    }
    assert graph.sources == {"prompts"}
    assert list(graph.dag.edges) == [("prompts", "pictures")]
    assert build(RAG).sources == frozenset()


@pytest.mark.parametrize(
    "source", [WRITER, f"{LLM}, items: 'x+', when: '{{{{ inputs.n }}}}'", GENERATOR]
)
@pytest.mark.parametrize(
    "reader",
    [
        "",
        ", limit: '{{ inputs.n }}'",
        ", after: c",
        ", when: '{{ c.value }}'",
        ", inputs: {d: '{{ c.value }}'}",
    ],
)
def test_goes_live_where_nothing_else_needs_the_source(source: str, reader: str) -> None:
    """Whatever other nodes the reader needs, and whether text is cut or values are yielded."""
    assert _build(source, reader).nodes["b"].live == "a"


@pytest.mark.parametrize(
    "reader",
    [
        ", limit: '{{ a.items | length }}'",
        ", after: a",
        ", when: '{{ a.items }}'",
        ", inputs: {d: '{{ a.text }}'}",
    ],
)
def test_waits_where_something_else_needs_the_source(reader: str) -> None:
    """Its end must be waited for anyway."""
    assert _build(WRITER, reader).nodes["b"].live is None


@pytest.mark.parametrize(
    "foreach",
    [
        "{{ a.items[:2] }}",
        "{{ a.items | reverse }}",
        "{{ a.items | default([]) }}",
        "{{ a.items[0] }}",
        "{{ range(inputs.n) }}",
        "{{ inputs.items }}",
    ],
)
def test_waits_for_what_is_not_exactly_the_items(foreach: str) -> None:
    """What is worked out of them needs all of them."""
    text = "name: w\ninputs: {n: {type: integer}, items: {}}\nnodes:\n"
    nodes = f"  a: {{{WRITER}}}\n  b: {{template: '{{{{ item }}}}', foreach: \"{foreach}\"}}\n"
    graph = build(f"{text}{nodes}outputs: {{o: '{{{{ b.value }}}}'}}\nstream: a\n")
    assert graph.nodes["b"].live is None


@pytest.mark.parametrize(
    ("source", "foreach"),
    [
        (f"{WRITER}, foreach: [1, 2]", "{{ a.items }}"),
        (f"{GENERATOR}, foreach: [1, 2]", "{{ a.items }}"),
        ("template: [1, 2]", "{{ a.value }}"),
        ("model: module", "{{ a.items }}"),
        (GENERATOR, "{{ a.list }}"),
    ],
)
def test_waits_for_what_comes_all_at_once(source: str, foreach: str) -> None:
    """The items of a foreach are lists of items; templates and modules give theirs at the end."""
    assert _build(source, foreach=foreach).nodes["b"].live is None


@pytest.mark.parametrize(
    ("signature", "is_live"),
    [
        (Signature(outputs={"items": {}}, chunks={"properties": {"data": {}}}), True),
        (Signature(is_open=True, chunks={"properties": {"data": {}}}), True),
        (Signature(outputs={"items": {}}, chunks={"properties": {"text": {}}}), False),
        (Signature(outputs={"items": {}}), False),
    ],
)
def test_knows_a_generator_by_its_signature(
    signature: Signature, *, is_live: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its chunks are data, and its output `items`."""
    monkeypatch.setitem(MODELS, "module", signature)  # type: ignore[arg-type]  # a dict
    assert (_build("model: module").nodes["b"].live == "a") is is_live
