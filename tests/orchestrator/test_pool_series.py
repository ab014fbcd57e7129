"""What a pool shows of itself."""

from __future__ import annotations

from loom_fakes.engines import deploy

from torchloom.engine import Occupancy
from torchloom.executor import InlineExecutor
from torchloom.pool import Pool
from torchloom.pool_series import pool_series
from torchloom.stats import Stats


async def test_tells_depth_replicas_and_load() -> None:
    """An idle pool has one ready replica, nothing queued and nothing in flight."""
    pool = Pool(deploy("open_echo"), InlineExecutor(), Stats(), now=lambda: 0.0)
    await pool.start()
    try:
        series = {(each.metric.name, each.labels[2:]): each.value for each in pool_series(pool)}
    finally:
        await pool.stop()

    assert series == {
        ("queue_depth", ()): 0,
        ("replicas", ("ready",)): 1,
        ("tasks_in_flight", (pool.replicas[0].device,)): 0,
        ("model_memory_bytes", (pool.replicas[0].device,)): 0,
    }


async def test_adds_up_the_blocks_of_caches() -> None:
    """By device and state, where an engine has told of any."""
    pool = Pool(deploy("open_echo"), InlineExecutor(), Stats(), now=lambda: 0.0)
    await pool.start()
    try:
        pool.replicas[0].holding.occupancy = Occupancy(is_full=False, blocks={"held": 3, "free": 5})
        found = [each for each in pool_series(pool) if each.metric.name == "kv_cache_blocks"]
    finally:
        await pool.stop()

    assert {each.labels[3]: each.value for each in found} == {"held": 3, "free": 5}
