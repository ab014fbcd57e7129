"""Picture: a graph as Mermaid and SVG."""

from __future__ import annotations

from xml.etree import ElementTree as ET

import pytest
from workflow_fakes.catalog import build, with_node
from workflow_fakes.files import MULTI_IMAGE, RAG

from torchloom.graph import Constant, Graph, ModelCall, Node
from torchloom.signature import Signature
from torchloom_workflows.picture import to_mermaid, to_svg


_SVG = "{http://www.w3.org/2000/svg}"

_FULL = """\
name: full
inputs: {a: {}, b: {}, c: {}, d: {}, e: {}, f: {}}
nodes:
  one: {model: llama, inputs: {prompt: x}, cache: true, retry: {attempts: 3}}
  two: {function: "shop.tools:price", when: "{{ one.text == 'x' }}"}
  three: {template: "{{ item }}", foreach: "{{ two.list }}"}
  four: {model: llama@1, inputs: {prompt: y}, after: one, fallback: {value: {text: z}}}
outputs: {o: "{{ three.value }} {{ four.text }}"}
stream: four
"""


def _texts(svg: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(svg).iter(f"{_SVG}text")]


def test_writes_mermaid() -> None:
    """Nodes have plain ids, so that no name can be mistaken for syntax."""
    assert to_mermaid(build(MULTI_IMAGE)).splitlines() == [
        "flowchart LR",
        "  accTitle: multi_image@1",
        '  n0["<b>prompts</b><br/>model llama<br/>streams"]',
        '  n1[["<b>pictures</b><br/>model stable_diffusion<br/>foreach<br/>live<br/>streams"]]',
        '  n2(["<b>inputs</b><br/>idea<br/>num_images<br/>seed"])',
        '  n3(["<b>outputs</b><br/>prompts<br/>images"])',
        "  n0 == live ==> n1",
        "  n0 --> n3",
        "  n1 --> n3",
        "  n2 --> n0",
    ]


@pytest.mark.parametrize("text", [RAG, MULTI_IMAGE, _FULL])
def test_draws_every_node_and_edge(text: str) -> None:
    """Each node is a box with its name, and each need a line."""
    graph = build(text)
    svg = to_svg(graph)
    assert {*graph.nodes, "inputs", "outputs"} <= set(_texts(svg))
    root = ET.fromstring(svg)
    lines = [path for path in root.iter(f"{_SVG}path") if "edge" in path.get("class", "")]
    first = sum(1 for node in graph.nodes.values() if not node.needs)
    last = len(frozenset[str]().union(*(binding.reads for binding in graph.outputs.values())))
    assert len(lines) == len(graph.dag.edges) + first + last


def test_marks_what_is_special() -> None:
    """Foreach, conditions, streams, caches and the like are written in the boxes."""
    texts = _texts(to_svg(build(_FULL)))
    for words in (
        "model llama",
        "cached · retries",
        "function shop.tools:price",
        "when",
        "template",
        "foreach",
        "model llama@1",
        "streams · fallback",
        "and 2 more",
    ):
        assert words in texts
    assert "-. after .->" in to_mermaid(build(_FULL))
    assert 'class="edge after"' in to_svg(build(_FULL))
    assert 'class="box when"' in to_svg(build(_FULL))


def test_marks_live_edges() -> None:
    """As a line of its own kind, as a word in the box, and in the description."""
    svg = to_svg(build(MULTI_IMAGE))
    assert svg.count('class="edge live"') == 1
    assert "foreach · live · streams" in _texts(svg)
    assert "needs prompts, and takes the items of prompts as they come." in svg
    waits = build(
        MULTI_IMAGE.replace('prompts.items }}"\n    limit', 'prompts.items[:2] }}"\n    limit')
    )
    assert "live" not in to_mermaid(waits)


def test_draws_workflows() -> None:
    """A workflow that is called shows its name, and how often it may be repeated."""
    inner = build(with_node("{template: x}").replace("name: w", "name: inner"))
    text = with_node("{workflow: inner, repeat: {until: '{{ outputs.o }}', max: 5}}")
    assert {"workflow inner", "at most 5 times"} <= set(_texts(to_svg(build(text, inner))))


def test_can_be_read_without_being_seen() -> None:
    """The drawing has a title, a description of every node, and a title for each box."""
    root = ET.fromstring(to_svg(build(RAG)))
    assert root.get("role") == "img"
    labels = [
        root.find(f"{_SVG}*[@id='{name}']") for name in root.get("aria-labelledby", "").split()
    ]
    title, description = (label.text or "" for label in labels if label is not None)
    assert title == "Workflow rag@1"
    assert description.startswith(
        "Answers a question from the handbook, with its sources. Node query"
    )
    assert "Node answer (model llama, streams, retries) needs passages." in description
    assert len(list(root.iter(f"{_SVG}g"))) == 5
    assert all(group.find(f"{_SVG}title") is not None for group in root.iter(f"{_SVG}g"))


def test_escapes_what_users_write() -> None:
    """No name and no description can break out of the drawing."""
    evil = '<script>"]&#;--> end\n%%'
    graph = Graph(
        name=evil,
        description=evil,
        signature=Signature(inputs={evil: {}}),
        nodes={"a": Node(name="a", call=ModelCall(evil))},
        outputs={evil: Constant(1)},
    )
    root = ET.fromstring(to_svg(graph))
    assert root.find(".//script") is None
    assert "<script" not in to_svg(graph)
    mermaid = to_mermaid(graph)
    assert len(mermaid.splitlines()) == 6
    for line in mermaid.splitlines()[2:5]:
        assert line.count('"') == 2
        assert "<script" not in line


def test_cuts_long_names() -> None:
    """A long name is cut in its box, and whole in the box's title."""
    name = "n" * 60
    svg = to_svg(
        build(
            with_node("{template: x}")
            .replace("  a:", f"  {name}:")
            .replace("{{ a }}", f"{{{{ {name} }}}}")
        )
    )
    assert "n" * 31 + "…" in _texts(svg)
    assert f"<title>{name}, template</title>" in svg
