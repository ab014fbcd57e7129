"""Fixtures of the core's tests; puts the stand-ins on the path, for workers in processes too."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest


HERE = str(Path(__file__).parent)
sys.path.insert(0, HERE)

from loom_fakes.clock import ManualClock  # noqa: E402 - on the path only now
from loom_fakes.engines import GATES, Gate, deploy  # noqa: E402 - the same
from loom_fakes.pool_bench import MakePool, PoolBench  # noqa: E402 - the same
from loom_fakes.scripted import ScriptedExecutor  # noqa: E402 - the same

from torchloom import backoff  # noqa: E402 - the same


@pytest.fixture
def clock() -> ManualClock:
    """Give time that a test moves."""
    return ManualClock()


@pytest.fixture
def gate(request: pytest.FixtureRequest) -> Iterator[Gate]:
    """Give a gate under the test's own name, for `config={"gate": gate_name}`."""
    gate = GATES[request.node.name] = Gate()
    yield gate
    gate.let_go(1000)
    del GATES[request.node.name]


@pytest.fixture
def gate_name(request: pytest.FixtureRequest) -> str:
    """Give the name of the test's gate."""
    return str(request.node.name)


@pytest.fixture
def worker_path(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let worker processes import the engines of the tests."""
    path = os.environ.get("PYTHONPATH")
    monkeypatch.setenv("PYTHONPATH", HERE if path is None else f"{HERE}{os.pathsep}{path}")


@pytest.fixture
async def make_pool(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[MakePool]:
    """Give a maker of pools; at the end of the test the invariant holds, and still after a stop."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))
    made: list[PoolBench] = []

    def make(executor: ScriptedExecutor | None = None, **options: object) -> PoolBench:
        bench = PoolBench(clock, executor or ScriptedExecutor(), deploy("open_echo", **options))
        made.append(bench)
        return bench

    yield make
    for bench in made:
        bench.pool.check()
        await bench.pool.stop()
        bench.pool.check()
        assert all(link.is_over for link in bench.links)
