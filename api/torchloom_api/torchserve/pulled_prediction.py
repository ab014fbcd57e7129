"""PulledPrediction: a prediction whose chunks are asked for one by one. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from torchloom.errors import TaskFailed
from torchloom_api.torchserve.part_queue import PartQueue
from torchloom_api.torchserve.prediction import Prediction


class PulledPrediction:
    """Runs a prediction in a task of its own, and keeps its chunks until they are asked for."""

    def __init__(self, prediction: Prediction) -> None:
        self._prediction = prediction
        self._queue = PartQueue()
        self._task = asyncio.get_running_loop().create_task(prediction.run(self._add))
        self._task.add_done_callback(lambda _: self._queue.close())

    def _add(self, chunk: Mapping[str, object]) -> None:
        if self._queue.is_full:
            self._prediction.break_off(TaskFailed("Too much of the answer waits to be read."))
        else:
            self._queue.put(chunk)

    def chunks(self) -> AsyncIterator[Mapping[str, object]]:
        """Give the chunks as they come; ends with the call."""
        return self._queue.parts()

    async def outputs(self) -> Mapping[str, object]:
        """Give the rest, or the whole. Raises what the call raises."""
        return await self._task

    def cancel(self) -> None:
        """Give it up, if it is not over."""
        self._task.cancel()
