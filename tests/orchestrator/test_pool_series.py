"""What a pool shows of itself."""

from __future__ import annotations

from loom_fakes.engines import deploy

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
