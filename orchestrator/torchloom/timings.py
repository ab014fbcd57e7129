"""Timings of a run: per node, and the path that its length came from. Knows no clock."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass


class Meter:
    """Sums up, over the calls of one node, the time they waited and the time they ran."""

    __slots__ = ("num_tasks", "queue_s", "run_s")

    def __init__(self) -> None:
        self.num_tasks = 0
        self.queue_s = 0.0
        self.run_s = 0.0

    def add(self, queue_s: float, run_s: float) -> None:
        """Take a finished task into account."""
        self.num_tasks += 1
        self.queue_s += queue_s
        self.run_s += run_s


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeTiming:
    """When a node started and finished, in seconds from the start of the run.

    `queue_s` and `run_s` are sums over its `num_tasks` tasks, which may overlap in time.
    """

    started_s: float
    finished_s: float
    queue_s: float
    run_s: float
    num_tasks: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RunTimings:
    """The length of a run and of its nodes, and the path of nodes that its length came from."""

    total_s: float
    nodes: Mapping[str, NodeTiming]
    critical_path: tuple[str, ...]


def find_critical_path(
    nodes: dict[str, NodeTiming],
    needs: Mapping[str, Collection[str]],
    met_s: Mapping[tuple[str, str], float],
) -> tuple[str, ...]:
    """Walk back from the node that finished last, each time to the need that was met last.

    A need is met when it finishes, unless `met_s` says, for (need, node), when that was. `nodes`
    come in the order in which they finished, which decides between equal times.
    """
    path: list[str] = []
    reader = ""
    ahead: Collection[str] = nodes
    while candidates := [name for name in reversed(nodes) if name in ahead]:
        times = {name: met_s.get((name, reader), nodes[name].finished_s) for name in candidates}
        reader = max(candidates, key=times.__getitem__)
        path.append(reader)
        ahead = needs[reader]
    return tuple(reversed(path))
