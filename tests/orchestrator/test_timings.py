"""Timings and the critical path."""

from __future__ import annotations

from torchloom.timings import Meter, NodeTiming, Usage, add_usage, find_critical_path


def _timing(started_s: float, finished_s: float) -> NodeTiming:
    return NodeTiming(
        started_s=started_s, finished_s=finished_s, queue_s=0.0, run_s=0.0, num_tasks=1
    )


def test_sums_up_the_tasks_of_a_node() -> None:
    """Waiting and running are summed over tasks."""
    meter = Meter()
    meter.add(0.5, 1.0)
    meter.add(0.25, 2.0)
    assert (meter.num_tasks, meter.queue_s, meter.run_s) == (2, 0.75, 3.0)


def test_counts_tokens_by_model() -> None:
    """Whole numbers are summed for each model; what tells nothing, or no mapping, adds nothing."""
    meter = Meter()
    meter.count("llama", {"prompt": 3, "completion": 2, "note": "x"})
    meter.count("llama", {"prompt": 4})
    meter.count("minilm", {"prompt": 5})
    meter.count("other", None)
    total: Usage = {}
    add_usage(total, meter.usage)
    add_usage(total, {"llama": {"prompt": 1}})

    assert meter.usage == {"llama": {"prompt": 7, "completion": 2}, "minilm": {"prompt": 5}}
    assert total["llama"] == {"prompt": 8, "completion": 2}


def test_finds_the_path_that_the_length_came_from() -> None:
    """Back from the node that finished last, each time to the need that finished last."""
    nodes = {
        "a": _timing(0, 1),
        "slow": _timing(1, 5),
        "fast": _timing(1, 2),
        "join": _timing(5, 6),
        "aside": _timing(0, 3),
    }
    needs = {"a": [], "slow": ["a"], "fast": ["a"], "join": ["fast", "slow"], "aside": []}
    assert find_critical_path(nodes, needs, {}) == ("a", "slow", "join")


def test_takes_the_later_of_two_that_finished_at_once() -> None:
    """A node that took no time still comes after its need: order of finishing decides."""
    nodes = {"a": _timing(0, 1), "b": _timing(1, 1), "c": _timing(1, 1)}
    needs: dict[str, list[str]] = {"a": [], "b": ["a"], "c": ["b"]}
    assert find_critical_path(nodes, needs, {}) == ("a", "b", "c")


def test_leaves_out_nodes_without_a_timing() -> None:
    """Skipped nodes have no length; a run without nodes has no path."""
    assert find_critical_path({"b": _timing(0, 1)}, {"b": ["skipped"]}, {}) == ("b",)
    assert find_critical_path({}, {}, {}) == ()


def test_asks_when_a_need_was_met_that_had_not_finished() -> None:
    """What came before a need's end counts, and not its end; a node may end before its need."""
    nodes = {
        "style": _timing(0, 3),
        "prompts": _timing(0, 9),
        "pictures": _timing(3, 10),
        "page": _timing(10, 11),
    }
    needs = {"style": [], "prompts": [], "pictures": ["prompts", "style"], "page": ["pictures"]}
    for met_s, first in ((2.0, "style"), (6.0, "prompts")):
        path = find_critical_path(nodes, needs, {("prompts", "pictures"): met_s})
        assert path == (first, "pictures", "page")
    early = {"pictures": _timing(0, 4), "prompts": _timing(0, 9)}
    needs = {"prompts": [], "pictures": ["prompts"]}
    assert find_critical_path(early, needs, {("prompts", "pictures"): 1.0}) == ("prompts",)
