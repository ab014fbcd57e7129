"""`ts.handler_utils.micro_batching`: parts of a batch go through the stages side by side."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from threading import Semaphore
from typing import Any, Final


_STAGES: Final = ("preprocess", "inference", "postprocess")


class MicroBatching:
    """Takes the place of a handler's `handle`. Each stage runs so often at once as is allowed."""

    def __init__(
        self,
        parent_handler: Any,
        micro_batch_size: int = 1,
        parallelism: Mapping[str, int] | None = None,
    ) -> None:
        self.handler = parent_handler
        self.micro_batch_size = micro_batch_size
        self._place = threading.local()
        self._parallelism = dict.fromkeys(_STAGES, 1)
        self._gates: dict[str, Semaphore] = {}
        self._pool = ThreadPoolExecutor(1)
        self.parallelism = parallelism

    @property
    def parallelism(self) -> dict[str, int]:
        """How often each stage may run at once. Setting some leaves the others.

        ValueError, and all stays as it was, for what is no stage, or no number from 1 on.
        """
        return dict(self._parallelism)

    @parallelism.setter
    def parallelism(self, given: Mapping[str, int] | None) -> None:
        unknown = [stage for stage in given or () if stage not in _STAGES]
        if unknown:
            message = f"There is no stage {unknown[0]!r}; the stages are {', '.join(_STAGES)}."
            raise ValueError(message)
        counts = self._parallelism | {stage: int(count) for stage, count in (given or {}).items()}
        for stage, count in counts.items():
            if count < 1:
                message = f"{stage!r} may run {count} times at once; 1 is the least."
                raise ValueError(message)
        old = self._pool
        self._parallelism = counts
        self._gates = {stage: Semaphore(count) for stage, count in counts.items()}
        self._pool = ThreadPoolExecutor(sum(counts.values()))
        old.shutdown()

    def shutdown(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def get_micro_batch_idx(self) -> int | None:
        """Give the place of the part that the calling thread works on; None outside of stages."""
        return getattr(self._place, "index", None)

    def handle(self, data: Sequence[object]) -> list[object]:
        """Give an item for each row, in order."""
        size = max(int(self.micro_batch_size), 1)
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        given = self._pool.map(self._run, range(len(parts)), parts)
        return [item for items in given for item in items]

    def __call__(self, data: Sequence[object], context: Any) -> Any:
        """Answer a batch as `BaseHandler.handle` does: only predictions go in parts."""
        started = time.perf_counter()
        handler = self.handler
        handler.context = context
        if handler._is_describe():  # noqa: SLF001 - it stands in for a method of the handler
            items = [handler.describe_handle()]
        elif handler._is_explain():  # noqa: SLF001 - the same
            items = handler.explain_handle(handler.preprocess(data), data)
        else:
            items = self.handle(data)
        took_ms = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time("HandlerTime", took_ms, None, "ms")
        return items

    def _run(self, index: int, part: object) -> Sequence[object]:
        self._place.index = index
        value: Any = part
        for stage in _STAGES:
            with self._gates[stage]:
                value = getattr(self.handler, stage)(value)
        return list(value)
