"""PredictionSeries: the series of what predictions of one model took, found once for all of them.

Knows no request.
"""

from __future__ import annotations

from typing import Final

from torchloom_api.torchserve.telemetry.measurement import Measured
from torchloom_api.torchserve.telemetry.metric_book import MetricBook


#: The dimensions of what belongs to no model.
HOST: Final = ("Host",)


class PredictionSeries:
    """The series of a model, by the version that was asked for, if one was."""

    __slots__ = ("_requests", "_times")

    def __init__(self, book: MetricBook, model: str, version: str | None) -> None:
        labels = (model, version or "default")
        self._requests = book.row(("ts_inference_requests_total", labels))
        self._times = book.row(
            ("ts_inference_latency_microseconds", labels),
            ("ts_queue_latency_microseconds", labels),
            ("QueueTime", HOST),
            ("WorkerThreadTime", HOST),
        )

    def count(self) -> Measured | None:
        """Count a request."""
        return self._requests.take((1.0,))

    def take(
        self, seconds: float, queue_s: float, run_s: float, handler_ms: float
    ) -> Measured | None:
        """Take how long a prediction took: in all, in its queue, with a worker, in the handler."""
        thread_ms = run_s * 1000 - handler_ms  # which may be anything: a handler says so
        return self._times.take(
            (
                round(seconds * 1e9) / 1e3,
                round(queue_s * 1e9) / 1e3,
                float(int(queue_s * 1000)),
                thread_ms // 1 if thread_ms > 0 else 0.0,
            )
        )
