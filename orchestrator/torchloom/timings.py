"""Timings of a run: per node, and the path that its length came from. Knows no clock."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping

import msgspec


#: What answers took, in tokens, by model: {"llama": {"prompt": 12, "completion": 3}}.
Usage = dict[str, Counter[str]]


class Meter:
    """Sums up, over the calls of one node, the time they waited and ran, and what they took."""

    __slots__ = ("num_tasks", "queue_s", "run_s", "usage")

    def __init__(self) -> None:
        self.num_tasks = 0
        self.queue_s = 0.0
        self.run_s = 0.0
        self.usage: Usage = {}

    def add(self, queue_s: float, run_s: float) -> None:
        """Take a finished task into account."""
        self.num_tasks += 1
        self.queue_s += queue_s
        self.run_s += run_s

    def count(self, model: str, usage: object) -> None:
        """Add the output `usage` of a model's answer: its whole numbers, where it is a mapping."""
        if usage is not None and isinstance(usage, Mapping):  # to ask what None is takes a while
            counts = {str(name): n for name, n in usage.items() if isinstance(n, int)}
            add_usage(self.usage, {model: counts})


def add_usage(total: Usage, usage: Mapping[str, Mapping[str, int]]) -> None:
    """Add what some answers took to a sum."""
    for model, counts in usage.items():
        total.setdefault(model, Counter()).update(counts)


class NodeTiming(msgspec.Struct, frozen=True, kw_only=True):
    """When a node started and finished, in seconds from the start of the run.

    `queue_s` and `run_s` are sums over its `num_tasks` tasks, which may overlap in time.
    """

    started_s: float
    finished_s: float
    queue_s: float
    run_s: float
    num_tasks: int


class RunTimings(msgspec.Struct, frozen=True, kw_only=True):
    """The length of a run and of its nodes, and the path of nodes that its length came from."""

    total_s: float
    nodes: Mapping[str, NodeTiming]
    critical_path: tuple[str, ...]


def to_timings(
    total_s: float,
    nodes: dict[str, NodeTiming],
    needs: Mapping[str, Collection[str]],
    met_s: Mapping[tuple[str, str], float],
) -> RunTimings:
    """Sum up the nodes that have finished; see `find_critical_path`."""
    path = find_critical_path(nodes, needs, met_s)
    return RunTimings(total_s=total_s, nodes=dict(nodes), critical_path=path)


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
