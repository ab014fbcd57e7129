"""PredictionSeries: what takes what predictions of one model took, found once for all of them.

Knows no request.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from torchloom_api.torchserve.telemetry.measurement import Measured
from torchloom_api.torchserve.telemetry.metric_book import MetricBook


#: The dimensions of what belongs to no model.
HOST: Final = ("Host",)


class PredictionSeries:
    """The series of a model, by the version that was asked for, if one was."""

    __slots__ = ("_latency", "_queue", "_queue_time", "_thread_time", "requests")

    def __init__(self, book: MetricBook, model: str, version: str | None) -> None:
        labels = (model, version or "default")
        self.requests = book.taker("ts_inference_requests_total", labels)
        self._latency = book.taker("ts_inference_latency_microseconds", labels)
        self._queue = book.taker("ts_queue_latency_microseconds", labels)
        self._queue_time = book.taker("QueueTime", HOST)
        self._thread_time = book.taker("WorkerThreadTime", HOST)

    def take(
        self, seconds: float, queue_s: float, run_s: float, handler_ms: float
    ) -> Sequence[Measured | None]:
        """Take how long a prediction took: in all, in its queue, with a worker, in the handler."""
        thread_ms = run_s * 1000 - handler_ms  # which may be anything: a handler says so
        return (
            self._latency(_to_us(seconds)),
            self._queue(_to_us(queue_s)),
            self._queue_time(float(int(queue_s * 1000))),
            self._thread_time(thread_ms // 1 if thread_ms > 0 else 0.0),
        )


def _to_us(seconds: float) -> float:
    """Give microseconds, exact to a nanosecond."""
    return round(seconds * 1e9) / 1e3
