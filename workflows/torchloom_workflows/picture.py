"""Picture: a graph as Mermaid text and as an SVG drawing. Knows no browser and runs no tool."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal
from xml.sax.saxutils import escape

import networkx as nx

from torchloom.graph import Graph, ModelCall, Node, WorkflowCall
from torchloom_workflows.layout import Box, Layout, Point, lay_out


_Kind = Literal["inputs", "outputs", "model", "function", "template", "workflow"]
_EdgeKind = Literal["need", "after", "live"]

_MAX_CHARS = 32
_MAX_NAMES = 4
_NAME_CHAR_WIDTH = 8.2
_LINE_CHAR_WIDTH = 7.0
_PADDING = 16.0
_NAME_HEIGHT = 20.0
_LINE_HEIGHT = 17.0
_STACK = 5.0

#: Names of the two boxes that are no nodes. A node cannot be named so.
_INPUTS, _OUTPUTS = "\0inputs", "\0outputs"

_STYLE = """
text { font-family: system-ui, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif; fill: #1f2430 }
.name { font-size: 14px; font-weight: 600 }
.line { font-size: 12px; fill: #5a6375 }
.mark { font-size: 12px; fill: #8a4b00 }
.box { fill: #ffffff; stroke: #b4bccb; stroke-width: 1.2 }
.when { stroke-dasharray: 5 3 }
.end { fill: #f3f5f9 }
.model { fill: #2f6fde }
.function { fill: #178a5b }
.template { fill: #8a93a5 }
.workflow { fill: #8250c4 }
.edge { fill: none; stroke: #8a93a5; stroke-width: 1.4 }
.after { stroke-dasharray: 4 4 }
.live { stroke: #8a4b00; stroke-width: 3 }
.streams { stroke: #2f6fde; stroke-width: 1.8 }
.tip { fill: #8a93a5 }
@media (prefers-color-scheme: dark) {
  text { fill: #e8ebf2 } .line { fill: #a5aec0 } .mark { fill: #f0b36b }
  .box { fill: #232936; stroke: #525c70 } .end { fill: #1b202b }
  .streams { stroke: #7fb0ff } .live { stroke: #f0b36b }
}
"""


_ROLE = 'role="img" aria-labelledby="title description"'

_TIP = (
    '<marker id="tip" viewBox="0 0 8 8" refX="7" refY="4" markerWidth="10" markerHeight="10" '
    'markerUnits="userSpaceOnUse" orient="auto"><path class="tip" d="M0 0 L8 4 L0 8 z"/></marker>'
)


@dataclass(frozen=True, slots=True)
class _Card:
    """What is written in a box: its name, what it calls, and marks such as `foreach`."""

    kind: _Kind
    name: str
    lines: tuple[str, ...] = ()
    marks: tuple[str, ...] = ()

    @property
    def text(self) -> str:
        """All of it, for those who cannot see the drawing."""
        return ", ".join((self.name, *self.lines, *self.marks))

    @property
    def size(self) -> Point:
        """Width and height of its box, in pixels, estimated from the letters."""
        width = len(_cut(self.name)) * _NAME_CHAR_WIDTH
        for line in (*self.lines, " · ".join(self.marks)):
            width = max(width, len(_cut(line)) * _LINE_CHAR_WIDTH)
        num_lines = len(self.lines) + bool(self.marks)
        height = _NAME_HEIGHT + num_lines * _LINE_HEIGHT + _PADDING
        return width + 2 * _PADDING, height


def to_mermaid(graph: Graph) -> str:
    """Draw a graph as a Mermaid flowchart, from left to right."""
    cards, dag = _to_cards(graph), _to_dag(graph)
    ids = {name: f"n{index}" for index, name in enumerate(cards)}
    lines = ["flowchart LR", f"  accTitle: {_plain(graph.label)}"]
    for name, card in cards.items():
        label = "<br/>".join(
            [f"<b>{_quote(card.name)}</b>", *map(_quote, card.lines), *map(_quote, card.marks)]
        )
        opening, closing = _SHAPES.get(card.kind, ("[", "]"))
        if "foreach" in card.marks:
            opening, closing = "[[", "]]"
        lines.append(f'  {ids[name]}{opening}"{label}"{closing}')
    for start, end in dag.edges:
        lines.append(f"  {ids[start]} {_ARROWS[_find_edge_kind(graph, start, end)]} {ids[end]}")
    return "\n".join(lines) + "\n"


_ARROWS: Mapping[_EdgeKind, str] = {
    "need": "-->",
    "after": "-. after .->",
    "live": "== live ==>",
}

_SHAPES: Mapping[str, tuple[str, str]] = {"inputs": ("([", "])"), "outputs": ("([", "])")}


def to_svg(graph: Graph) -> str:
    """Draw a graph as an SVG document, from left to right, with a title and a description."""
    cards, dag = _to_cards(graph), _to_dag(graph)
    layout = lay_out(dag, {name: card.size for name, card in cards.items()})
    width, height = round(layout.width + _STACK), round(layout.height + _STACK)
    size = f'viewBox="0 0 {width} {height}" width="{width}" height="{height}"'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" {size} {_ROLE}>',
        f'<title id="title">Workflow {escape(graph.label)}</title>',
        f'<desc id="description">{escape(_describe(graph))}</desc>',
        f"<style>{_STYLE}</style>",
        f"<defs>{_TIP}</defs>",
        *(_draw_edge(graph, edge, layout) for edge in dag.edges),
        *(_draw_card(card, layout.boxes[name]) for name, card in cards.items()),
        "</svg>",
    ]
    return "\n".join(parts) + "\n"


# What is drawn


def _to_cards(graph: Graph) -> dict[str, _Card]:
    cards = {name: _to_card(graph, node) for name, node in graph.nodes.items()}
    if graph.signature.inputs:
        cards[_INPUTS] = _Card("inputs", "inputs", tuple(_list(graph.signature.inputs)))
    cards[_OUTPUTS] = _Card("outputs", "outputs", tuple(_list(graph.outputs)))
    return cards


def _list(names: Mapping[str, object]) -> Iterator[str]:
    yield from list(names)[:_MAX_NAMES]
    if len(names) > _MAX_NAMES:
        yield f"and {len(names) - _MAX_NAMES} more"


def _to_card(graph: Graph, node: Node) -> _Card:
    marks = {
        "foreach": node.foreach,
        "live": node.live,
        "when": node.when,
        "streams": node.name in graph.stream,
        "cached": node.cache,
        "retries": node.retry.attempts > 1,
        "fallback": node.fallback,
    }
    shown = tuple(mark for mark, is_set in marks.items() if is_set)
    match node.call:
        case ModelCall(model, version):
            kind: _Kind = "function" if ":" in model else "model"
            return _Card(kind, node.name, (f"{kind} {_label(model, version)}",), shown)
        case WorkflowCall(workflow, version):
            line = f"workflow {_label(workflow, version)}"
            rounds = (f"at most {node.call.max_repeats} times",) if node.call.repeat_until else ()
            return _Card("workflow", node.name, (line, *rounds), shown)
        case _:
            return _Card("template", node.name, ("template",), shown)


def _label(name: str, version: int | None) -> str:
    return name if version is None else f"{name}@{version}"


def _to_dag(graph: Graph) -> nx.DiGraph[str]:
    """Add the inputs, before nodes that need no other, and the outputs, after what they read."""
    dag: nx.DiGraph[str] = nx.DiGraph()
    dag.add_nodes_from(graph.nodes)
    dag.add_edges_from(graph.dag.edges)
    if graph.signature.inputs:
        first = [name for name in graph.nodes if not graph.nodes[name].needs]
        dag.add_edges_from((_INPUTS, name) for name in first)
    read = frozenset[str]().union(*(binding.reads for binding in graph.outputs.values()))
    dag.add_node(_OUTPUTS)
    dag.add_edges_from((name, _OUTPUTS) for name in graph.nodes if name in read)
    return dag


def _find_edge_kind(graph: Graph, start: str, end: str) -> _EdgeKind:
    """Tell an edge that is there for the order alone, and one that carries items as they come."""
    node = graph.nodes.get(end)
    if node is None:
        return "need"
    if start == node.live:
        return "live"
    return "after" if start in node.after and start not in node.reads else "need"


def _describe(graph: Graph) -> str:
    """Say in words what the drawing shows."""
    sentences = [graph.description] if graph.description else []
    for name, node in graph.nodes.items():
        card = _to_card(graph, node)
        needs = ", ".join(sorted(node.needs)) or "nothing but the inputs"
        live = f", and takes the items of {node.live} as they come" if node.live else ""
        what = ", ".join((*card.lines, *card.marks))
        sentences.append(f"Node {name} ({what}) needs {needs}{live}.")
    return " ".join(sentences)


# How it is drawn


def _draw_edge(graph: Graph, edge: tuple[str, str], layout: Layout) -> str:
    start, end = edge
    classes = ["edge"]
    kind = _find_edge_kind(graph, start, end)
    if kind != "need":
        classes.append(kind)
    if start in graph.stream and end == _OUTPUTS:
        classes.append("streams")
    return (
        f'<path class="{" ".join(classes)}" marker-end="url(#tip)" '
        f'd="{_curve(layout.routes[edge])}"/>'
    )


def _curve(points: tuple[Point, ...]) -> str:
    """Go through the points from left to right, without corners."""
    steps = [f"M{points[0][0]:.1f} {points[0][1]:.1f}"]
    for (x1, y1), (x2, y2) in pairwise(points):
        if y1 == y2:
            steps.append(f"L{x2:.1f} {y2:.1f}")
        else:
            middle = (x1 + x2) / 2
            steps.append(f"C{middle:.1f} {y1:.1f} {middle:.1f} {y2:.1f} {x2:.1f} {y2:.1f}")
    return " ".join(steps)


def _draw_card(card: _Card, box: Box) -> str:
    parts = [f"<g><title>{escape(card.text)}</title>"]
    if "foreach" in card.marks:
        parts += [_draw_box(box, "box", shift) for shift in (_STACK, _STACK / 2)]
    classes = ["box"]
    if "when" in card.marks:
        classes.append("when")
    if card.kind in ("inputs", "outputs"):
        parts.append(_draw_box(box, "box end", radius=box.height / 2 if not card.lines else 18))
    else:
        parts.append(_draw_box(box, " ".join(classes)))
        parts.append(
            f'<rect class="{card.kind}" x="{box.x + 6:.1f}" y="{box.y + 8:.1f}" width="4" '
            f'height="{box.height - 16:.1f}" rx="2"/>'
        )
    return "".join([*parts, *_write(card, box), "</g>"])


def _draw_box(box: Box, classes: str, shift: float = 0.0, *, radius: float = 8) -> str:
    return (
        f'<rect class="{classes}" x="{box.x + shift:.1f}" y="{box.y + shift:.1f}" '
        f'width="{box.width:.1f}" height="{box.height:.1f}" rx="{radius:g}"/>'
    )


def _write(card: _Card, box: Box) -> Iterator[str]:
    x, y = box.x + _PADDING + 2, box.y + _PADDING / 2 + 15
    yield _text("name", x, y, card.name)
    for line in card.lines:
        y += _LINE_HEIGHT
        yield _text("line", x, y, line)
    if card.marks:
        yield _text("mark", x, y + _LINE_HEIGHT, " · ".join(card.marks))


def _text(kind: str, x: float, y: float, text: str) -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}">{escape(_cut(text))}</text>'


def _cut(text: str) -> str:
    return text if len(text) <= _MAX_CHARS else f"{text[: _MAX_CHARS - 1]}…"


def _quote(text: str) -> str:
    """Write text inside a Mermaid label: its entities begin with `#`."""
    for char, entity in (("#", "#35;"), ("&", "#amp;"), ('"', "#quot;"), ("<", "#lt;")):
        text = text.replace(char, entity)
    return _plain(text.replace(">", "#gt;"))


def _plain(text: str) -> str:
    return " ".join(text.split())
