"""Fleet: what its workers are told while they serve. Starting and ending is tested by the pool."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.scripted import ScriptedExecutor, settle, until

from torchloom import backoff
from torchloom.device import Device
from torchloom.errors import InvalidInput, NotServing
from torchloom.policy import ReplicaPolicy
from torchloom.pool import Pool
from torchloom.stats import Stats


class _Bench:
    """A pool of two workers that the test plays."""

    def __init__(self, clock: ManualClock) -> None:
        self.executor = ScriptedExecutor()
        deployment = deploy(
            "open_echo", replicas=ReplicaPolicy(min=2, max=2), devices=(Device("cpu"),)
        )
        self.pool = Pool(deployment, self.executor, Stats(), now=clock)

    def tell(self, key: str, value: object) -> asyncio.Task[None]:
        """Ask for a setting."""
        return asyncio.create_task(self.pool.apply_setting(key, value))

    @property
    def told(self) -> list[list[tuple[str, object]]]:
        """What each worker was told."""
        return [link.settings for link in self.executor.links]

    @property
    def settings(self) -> dict[str, object]:
        """What stands, as a status shows it."""
        return dict(self.pool.status(1.0).settings)


@pytest.fixture
async def bench(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[_Bench]:
    """Give a pool that has started."""
    monkeypatch.setattr(backoff, "_WAITS_S", (0.0,))
    bench = _Bench(clock)
    await bench.pool.start()
    yield bench
    await bench.pool.stop()


async def test_tells_every_worker_a_setting(bench: _Bench) -> None:
    """It stands when all have taken it."""
    telling = bench.tell("speed", 3)
    await settle()
    assert bench.told == [[("speed", 3)]] * 2
    bench.executor.links[0].take()
    await settle()
    assert not telling.done()
    bench.executor.links[1].take()

    await telling

    assert bench.settings == {"speed": 3}


async def test_takes_a_setting_back_that_one_worker_refuses(bench: _Bench) -> None:
    """All are as they were; what was not there before is taken back with None."""
    telling = bench.tell("speed", 99)
    await settle()
    bench.executor.links[0].take()
    bench.executor.links[1].take(InvalidInput("Too fast."))
    await settle()
    assert bench.told == [[("speed", 99), ("speed", None)]] * 2
    for link in bench.executor.links:
        link.take()

    with pytest.raises(InvalidInput, match="Too fast"):
        await telling

    assert bench.settings == {}


async def test_tells_a_worker_again_that_has_died(bench: _Bench) -> None:
    """Its end is no refusal; the next worker is told before its first task."""
    telling = bench.tell("speed", 3)
    await settle()
    bench.executor.links[0].take()
    bench.executor.links[1].end()
    await telling
    await until(lambda: len(bench.executor.links) == 3)
    await settle()

    assert bench.told[2] == [("speed", 3)]
    assert bench.settings == {"speed": 3}


async def test_tells_a_worker_that_is_added(bench: _Bench) -> None:
    """Scaling up asks nobody again."""
    telling = bench.tell("speed", 3)
    await settle()
    for link in bench.executor.links:
        link.take()
    await telling
    await bench.pool.scale(ReplicaPolicy(min=3, max=3))

    assert bench.told[2] == [("speed", 3)]


async def test_refuses_while_no_worker_is_ready(bench: _Bench) -> None:
    """What nobody has seen does not stand."""
    bench.executor.max_tasks = None
    for link in list(bench.executor.links):
        link.end()

    with pytest.raises(NotServing, match="No worker"):
        await bench.pool.apply_setting("speed", 3)

    assert bench.settings == {}


async def test_loads_an_evicted_model_for_a_setting(bench: _Bench) -> None:
    """Only an engine can say whether it takes it."""
    await bench.pool.evict()
    telling = bench.tell("speed", 3)
    await until(lambda: len(bench.executor.links) == 4)
    await settle()
    for link in bench.executor.links[2:]:
        link.take()

    await telling

    assert bench.told[2:] == [[("speed", 3)]] * 2
    assert not bench.pool.fleet.is_evicted
