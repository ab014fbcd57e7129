"""PulledPrediction: a prediction whose parts are asked for one by one. Knows no message."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Final

from torchloom.event_log import EventLog
from torchloom_api.torchserve.prediction import Prediction


_PART: Final = "part"


class PulledPrediction:
    """Runs a prediction in a task of its own, and keeps its parts until they are asked for."""

    def __init__(self, prediction: Prediction) -> None:
        self._log = EventLog()
        running = prediction.run(lambda outputs: self._log.add(_PART, outputs))
        self._task = asyncio.get_running_loop().create_task(running)
        self._task.add_done_callback(lambda _: self._log.close())

    async def parts(self) -> AsyncIterator[Mapping[str, object]]:
        """Give the parts as they come; ends with the call."""
        async for event in self._log.follow():
            yield event.data

    async def outputs(self) -> Mapping[str, object]:
        """Give the last part, or the whole. Raises what the call raises."""
        return await self._task

    def cancel(self) -> None:
        """Give it up, if it is not over."""
        self._task.cancel()
