"""Layout: where the boxes and lines of a layered drawing go, from left to right. Knows no workflow.

After Sugiyama: layers by topological generation, long edges through dummies, order by barycentres.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import networkx as nx


_MARGIN = 24.0
_LAYER_GAP = 64.0
_BOX_GAP = 24.0
_DUMMY_HEIGHT = 10.0
_SWEEPS = 6

#: More dummies than this would take long, and help nobody: lines are then drawn straight through.
_MAX_DUMMIES = 4_000

Point = tuple[float, float]


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its left upper corner, width and height, in pixels."""

    x: float
    y: float
    width: float
    height: float

    @property
    def right(self) -> Point:
        """The middle of the right side."""
        return self.x + self.width, self.y + self.height / 2

    @property
    def left(self) -> Point:
        """The middle of the left side."""
        return self.x, self.y + self.height / 2


@dataclass(frozen=True, slots=True)
class Layout:
    """Boxes by name, and the points that each edge goes through, from right side to left side."""

    width: float
    height: float
    boxes: Mapping[str, Box]
    routes: Mapping[tuple[str, str], tuple[Point, ...]]


@dataclass(frozen=True, slots=True)
class _Dummy:
    """A place in a layer that an edge passes through."""

    edge: tuple[str, str]
    layer: int


_Slot = str | _Dummy


def lay_out(dag: nx.DiGraph[str], sizes: Mapping[str, Point]) -> Layout:
    """Place boxes of the given (width, height). `dag` has no cycles."""
    layers, links = _to_layers(dag)
    _order(layers, links)
    heights = [
        sum(_height(slot, sizes) + _BOX_GAP for slot in layer) - _BOX_GAP for layer in layers
    ]
    tallest = max(heights, default=0.0)
    boxes: dict[_Slot, Box] = {}
    x = _MARGIN
    for layer, height in zip(layers, heights, strict=True):
        width = max((sizes[slot][0] for slot in layer if isinstance(slot, str)), default=0.0)
        y = _MARGIN + (tallest - height) / 2
        for slot in layer:
            size = sizes[slot] if isinstance(slot, str) else (width, _DUMMY_HEIGHT)
            boxes[slot] = Box(x + (width - size[0]) / 2, y, *size)
            y += size[1] + _BOX_GAP
        x += width + _LAYER_GAP
    return Layout(
        width=max(x - _LAYER_GAP, 0.0) + _MARGIN,
        height=tallest + 2 * _MARGIN,
        boxes={slot: box for slot, box in boxes.items() if isinstance(slot, str)},
        routes={edge: tuple(_route(edge, layers, boxes)) for edge in dag.edges},
    )


def _height(slot: _Slot, sizes: Mapping[str, Point]) -> float:
    return sizes[slot][1] if isinstance(slot, str) else _DUMMY_HEIGHT


def _to_layers(dag: nx.DiGraph[str]) -> tuple[list[list[_Slot]], nx.DiGraph[_Slot]]:
    layers: list[list[_Slot]] = [list(layer) for layer in nx.topological_generations(dag)]
    depth = {name: index for index, layer in enumerate(layers) for name in layer}
    links: nx.DiGraph[_Slot] = nx.DiGraph()
    links.add_nodes_from(dag)
    num_dummies = sum(depth[end] - depth[start] - 1 for start, end in dag.edges)
    for start, end in dag.edges:
        between = range(depth[start] + 1, depth[end]) if num_dummies <= _MAX_DUMMIES else ()
        chain: list[_Slot] = [start, *(_Dummy((start, end), layer) for layer in between), end]
        nx.add_path(links, chain)
        for slot in chain[1:-1]:
            assert isinstance(slot, _Dummy)
            layers[slot.layer].append(slot)
    return layers, links


def _order(layers: list[list[_Slot]], links: nx.DiGraph[_Slot]) -> None:
    """Sort each layer by where its neighbours are, there and back, which undoes most crossings."""
    for sweep in range(_SWEEPS):
        is_forward = sweep % 2 == 0
        places = {slot: index for layer in layers for index, slot in enumerate(layer)}
        neighbours = links.predecessors if is_forward else links.successors
        for layer in layers if is_forward else reversed(layers):
            centres = {}
            for slot in layer:
                near = [places[other] for other in neighbours(slot)]
                centres[slot] = sum(near) / len(near) if near else float(places[slot])
            layer.sort(key=centres.__getitem__)
            places.update((slot, index) for index, slot in enumerate(layer))


def _route(
    edge: tuple[str, str], layers: list[list[_Slot]], boxes: Mapping[_Slot, Box]
) -> Iterator[Point]:
    yield boxes[edge[0]].right
    for index in range(len(layers)):
        box = boxes.get(_Dummy(edge, index))
        if box is not None:
            yield box.left
            yield box.right
    yield boxes[edge[1]].left
