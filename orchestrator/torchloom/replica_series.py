"""ReplicaSeries: what a replica measures. Knows no task and no worker."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.deployment import Deployment
from torchloom.engine import Occupancy
from torchloom.stats import Stats


class ReplicaSeries:
    """The series of one model version on one device, held by whoever is on the hot path."""

    def __init__(self, stats: Stats, deployment: Deployment, device: str) -> None:
        labels = (deployment.name, str(deployment.version))
        self.queue_seconds = stats.histogram("queue_seconds", *labels)
        self.task_seconds = stats.histogram("task_seconds", *labels, device)
        self.restarts = stats.counter("worker_restarts", *labels)
        self._step_seconds = stats.histogram("step_seconds", *labels, device)
        self._batch_size = stats.histogram("batch_size", *labels, device)
        self._stats = stats
        self._labels = labels
        self._device = device

    def observe_step(self, size: int, seconds: float) -> None:
        """Count a step."""
        self._step_seconds.observe(seconds)
        self._batch_size.observe(size)

    def count_preemptions(self, before: Occupancy, now: Occupancy) -> None:
        """Count tasks that had to wait again; no series where there never were any."""
        number = now.num_preemptions - before.num_preemptions
        if number:
            self._stats.counter("preemptions", *self._labels, self._device).add(number)

    def count_tokens(self, counts: Mapping[str, int]) -> None:
        """Add what an answer counted, e.g. {"prompt_tokens": 12}."""
        for name, count in counts.items():
            self._stats.counter("tokens", *self._labels, name.removesuffix("_tokens")).add(count)
