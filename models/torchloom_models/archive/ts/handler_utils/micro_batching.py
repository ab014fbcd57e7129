"""`ts.handler_utils.micro_batching`: parts of a batch go through the stages side by side."""

from __future__ import annotations

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
        self._pool: ThreadPoolExecutor
        self._gates: dict[str, Semaphore]
        self.parallelism = parallelism

    @property
    def parallelism(self) -> dict[str, int]:
        """How often each stage may run at once."""
        return self._parallelism

    @parallelism.setter
    def parallelism(self, given: Mapping[str, int] | None) -> None:
        self._parallelism = {stage: int((given or {}).get(stage, 1)) for stage in _STAGES}
        self._gates = {stage: Semaphore(count) for stage, count in self._parallelism.items()}
        self._pool = ThreadPoolExecutor(sum(self._parallelism.values()))

    def shutdown(self) -> None:
        """End the threads."""
        self._pool.shutdown()

    def handle(self, data: Sequence[object], context: Any = None) -> list[object]:
        """Give an item for each row, in order; without a context, it is the handler's."""
        started = time.perf_counter()
        if context is None:
            context = self.handler.context
        self.handler.context = context
        size = max(int(self.micro_batch_size), 1)
        parts = [data[start : start + size] for start in range(0, len(data), size)]
        items = [item for given in self._pool.map(self._run, parts) for item in given]
        took_ms = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time("HandlerTime", took_ms, None, "ms")
        return items

    __call__ = handle

    def _run(self, part: object) -> Sequence[object]:
        value: Any = part
        for stage in _STAGES:
            with self._gates[stage]:
                value = getattr(self.handler, stage)(value)
        return list(value)
