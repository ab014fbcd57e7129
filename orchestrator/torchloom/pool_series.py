"""What a pool measures by being looked at: its depth, its replicas, their memory and load."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from torchloom.pool import Pool
from torchloom.stats import METRICS, Series


def pool_series(pool: Pool) -> Iterable[Series]:
    """Give the gauges of a pool as it stands."""
    labels = (pool.deployment.name, str(pool.deployment.version))
    yield Series(METRICS["queue_depth"], labels, len(pool.queue))
    if pool.sessions.are_kept:
        yield Series(METRICS["sessions"], labels, len(pool.sessions))
    states = Counter(replica.state.value for replica in pool.replicas)
    in_flight: Counter[str] = Counter()
    memory: Counter[str] = Counter()
    blocks: Counter[tuple[str, str]] = Counter()
    for replica in pool.replicas:
        in_flight[replica.device] += len(replica.holding.tasks)
        memory[replica.device] += replica.memory_bytes
        for state, count in replica.holding.occupancy.blocks.items():
            blocks[replica.device, state] += count
    for state, count in states.items():
        yield Series(METRICS["replicas"], (*labels, state), count)
    for device, count in in_flight.items():
        yield Series(METRICS["tasks_in_flight"], (*labels, device), count)
    for device, count in memory.items():
        yield Series(METRICS["model_memory_bytes"], (*labels, device), count)
    for place, count in blocks.items():
        yield Series(METRICS["kv_cache_blocks"], (*labels, *place), count)
