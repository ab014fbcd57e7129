"""ReplicaSeries: what a replica measures. Knows no task and no worker."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom.deployment import Deployment
from torchloom.engine import Occupancy
from torchloom.stats import Counter, Stats


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

    def count_news(self, before: Occupancy, now: Occupancy) -> None:
        """Count what an engine tells with its occupancy; no series of what there never was."""
        self._add("preemptions", now.num_preemptions - before.num_preemptions)
        num_guessed = now.num_guessed - before.num_guessed
        self._add("guessed_tokens", num_guessed)
        # Where some were guessed, none accepted is a number as well.
        if num_guessed:
            self._device_counter("accepted_tokens").add(now.num_accepted - before.num_accepted)

    def count_tokens(self, counts: Mapping[str, int]) -> None:
        """Add what an answer counted, e.g. {"prompt_tokens": 12}."""
        for name, count in counts.items():
            self._stats.counter("tokens", *self._labels, name.removesuffix("_tokens")).add(count)

    def _add(self, name: str, number: int) -> None:
        if number:
            self._device_counter(name).add(number)

    def _device_counter(self, name: str) -> Counter:
        return self._stats.counter(name, *self._labels, self._device)
