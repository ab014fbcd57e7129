"""PulledPrediction: a prediction whose chunks are asked for one by one. Knows no protocol."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from torchloom.event_log import EventLog
from torchloom_api.torchserve.prediction import Prediction


_CHUNK: Final = "chunk"


class PulledPrediction:
    """Runs a prediction in a task of its own, and keeps its chunks until they are asked for."""

    def __init__(self, prediction: Prediction) -> None:
        self._log = EventLog()
        running = prediction.run(lambda chunk: self._log.add(_CHUNK, chunk))
        self._task = asyncio.get_running_loop().create_task(running)
        self._task.add_done_callback(lambda _: self._log.close())

    async def chunks(self) -> AsyncIterator[Mapping[str, object]]:
        """Give the chunks as they come; ends with the call."""
        async for event in self._log.follow():
            yield event.data

    async def outputs(self) -> Mapping[str, object]:
        """Give the rest, or the whole. Raises what the call raises."""
        return await self._task

    def cancel(self) -> None:
        """Give it up, if it is not over."""
        self._task.cancel()
