"""Progress: which nodes of a run are pending, in flight, done, skipped.

Pure sets; knows no clock.
"""

from __future__ import annotations

from torchloom.engine import Values
from torchloom.graph import Graph


class Progress:
    """The sets of a run, and the results that someone is still to read.

    A node is ready when every need of it is settled: done or skipped. The one need whose items it
    takes live need only be in flight.
    """

    def __init__(self, graph: Graph) -> None:
        self._graph = graph
        self._readers = dict(graph.readers)
        self.pending = set(graph.nodes)
        self.in_flight: set[str] = set()
        self.done: set[str] = set()
        self.skipped: set[str] = set()
        self.results: dict[str, Values] = {}

    def __repr__(self) -> str:
        """Say which nodes are where."""
        parts = {
            "pending": self.pending,
            "in flight": self.in_flight,
            "done": self.done,
            "skipped": self.skipped,
        }
        return f"<Progress {'; '.join(f'{k}: {sorted(v)}' for k, v in parts.items() if v)}>"

    def start_ready(self) -> list[str]:
        """Move every node that is ready into flight; give them by name, sources before readers."""
        started = self._start_ready()
        newest = started
        while self._graph.sources and not self._graph.sources.isdisjoint(newest):
            newest = self._start_ready()
            started = [*started, *newest]
        return started

    def _start_ready(self) -> list[str]:
        needs, settled = self._graph.needs, self.done | self.skipped
        ready = sorted(
            [name for name in self.pending if needs[name] <= settled or self._is_fed(name, settled)]
        )
        self.pending.difference_update(ready)
        self.in_flight.update(ready)
        return ready

    def _is_fed(self, name: str, settled: set[str]) -> bool:
        """Tell whether all that a node still needs are the items of one that runs."""
        live = self._graph.nodes[name].live
        return live in self.in_flight and self._graph.needs[name] - settled == {live}

    def finish(self, name: str, outputs: Values) -> None:
        """Settle a node with its outputs; keep them only if someone will read them."""
        self.in_flight.remove(name)
        self.done.add(name)
        if self._readers.get(name):
            self.results[name] = outputs
        self._release(name)

    def skip(self, name: str) -> None:
        """Settle a node without outputs."""
        self.in_flight.remove(name)
        self.skipped.add(name)
        self._release(name)

    def _release(self, name: str) -> None:
        """Drop the results of which this node was the last reader."""
        for read in self._graph.reads[name]:
            self._readers[read] -= 1
            if not self._readers[read]:
                self.results.pop(read, None)
