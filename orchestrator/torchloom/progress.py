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
        #: How many needs of each node are not settled yet.
        self._num_unmet = dict(graph.num_needs)
        self._ready = {name for name, number in self._num_unmet.items() if not number}
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
        started: list[str] = []
        while self._ready:
            newest, self._ready = sorted(self._ready), set()
            self.pending.difference_update(newest)
            self.in_flight.update(newest)
            started += newest
            for source in self._graph.sources.intersection(newest):
                self._look_at_followers(source)
        return started

    def _look_at_followers(self, name: str) -> None:
        """See whether a node was what others had been waiting for."""
        for follower in self._graph.followers[name]:
            if follower in self.pending and self._has_enough(follower):
                self._ready.add(follower)

    def _has_enough(self, name: str) -> bool:
        """Tell whether nothing is unmet, or only one whose items can be taken while it runs."""
        number = self._num_unmet[name]
        return not number or (number == 1 and self._graph.nodes[name].live in self.in_flight)

    def finish(self, name: str, outputs: Values) -> None:
        """Settle a node with its outputs; keep them only if someone will read them."""
        self.in_flight.remove(name)
        self.done.add(name)
        if self._readers.get(name):
            self.results[name] = outputs
        self._settle(name)

    def skip(self, name: str) -> None:
        """Settle a node without outputs."""
        self.in_flight.remove(name)
        self.skipped.add(name)
        self._settle(name)

    def _settle(self, name: str) -> None:
        """Bring those nearer that need it, and drop the results of which it was the last reader."""
        for follower in self._graph.followers[name]:
            self._num_unmet[follower] -= 1
        self._look_at_followers(name)
        for read in self._graph.reads[name]:
            self._readers[read] -= 1
            if not self._readers[read]:
                self.results.pop(read, None)
