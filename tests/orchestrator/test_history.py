"""History: the runs that can be looked up."""

from __future__ import annotations

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.graphs import make_graph, model_node
from loom_fakes.scripted import settle

from torchloom.cache import ResultCache
from torchloom.errors import UnknownRun
from torchloom.history import History
from torchloom.node_run import Caller
from torchloom.run import Run
from torchloom.run_options import RunOptions
from torchloom.stats import Stats


class _NoCaller(Caller):
    """Answers nothing: these runs call no model, and take no time."""


def _make_run(*, is_endless: bool = False) -> Run:
    clock = ManualClock()
    run = Run(
        make_graph(model_node("a")) if is_endless else make_graph(),
        {},
        options=RunOptions(),
        caller=_NoCaller(),
        cache=ResultCache(now=clock),
        stats=Stats(),
        now=clock,
    )
    if not is_endless:
        run.start()
    return run


async def _finished() -> Run:
    run = _make_run()
    await run.wait()
    return run


async def test_gives_runs_by_id_and_the_newest_first() -> None:
    """A run is found by its id; one that is not there is named in the error."""
    history = History(10)
    runs = [await _finished() for _ in range(3)]
    for run in runs:
        history.add(run)
    assert history.get(runs[1].id) is runs[1]
    assert history.runs() == runs[::-1]
    assert history.in_progress() == []
    with pytest.raises(UnknownRun, match="'run_x'"):
        history.get("run_x")


async def test_forgets_the_oldest_that_are_over() -> None:
    """The bound holds for runs that are over; those in progress are never forgotten."""
    history = History(2)
    endless = [_make_run(is_endless=True) for _ in range(3)]
    for run in endless:
        history.add(run)
    done = await _finished()
    history.add(done)
    assert history.in_progress() == endless
    history.add(_make_run(is_endless=True))
    assert done not in history.runs()


async def test_comes_back_to_its_bound_after_a_rush() -> None:
    """Runs that were too many at once do not stay when they are over."""
    history = History(5)
    rush = [_make_run(is_endless=True) for _ in range(50)]
    for run in rush:
        history.add(run)
    assert len(history.runs()) == 50
    for run in rush:
        run.start()
        run.cancel()
    await settle()
    history.add(await _finished())
    assert len(history.runs()) == 5
