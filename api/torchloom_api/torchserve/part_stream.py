"""PartStream: sends the parts of a handler's answer as they come. Knows no model.

Most answers have none: then it costs nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from msgspec.structs import replace

from torchloom.errors import TaskFailed
from torchloom_api.torchserve.answer import STREAM_NEXT, Answer
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.handler_answer import to_answer, to_body, to_part
from torchloom_api.torchserve.part_queue import PartQueue
from torchloom_api.torchserve.reply import Reply


_TOO_SLOW: Final = "The client reads its answer too slowly: too much of it waits."


class PartStream:
    """Takes parts at once, and has a task send them, as fast as the client reads.

    `on_failure` is told what keeps the first one from being sent (no answer has begun then), and
    that too much waits.
    """

    __slots__ = ("_max_bytes", "_on_failure", "_queue", "_reply", "_task")

    def __init__(
        self, reply: Reply, max_bytes: int, on_failure: Callable[[Exception], None]
    ) -> None:
        self._reply = reply
        self._max_bytes = max_bytes
        self._on_failure = on_failure
        self._queue: PartQueue | None = None
        self._task: asyncio.Task[None] | None = None

    @property
    def has_any(self) -> bool:
        """Tell whether a part has come."""
        return self._queue is not None

    def add(self, chunk: Mapping[str, object]) -> None:
        """Take a chunk, which is a part; never blocks."""
        if self._queue is None:
            self._queue = PartQueue()
            self._task = asyncio.get_running_loop().create_task(self._send(self._queue))
        if self._queue.is_full:
            self._on_failure(TaskFailed(_TOO_SLOW))
        else:
            self._queue.put(to_part(chunk))

    async def flush(self) -> None:
        """Wait until all that was taken is sent."""
        if self._queue is not None and self._task is not None:
            self._queue.close()
            await self._task

    async def end(self, outputs: Mapping[str, object]) -> None:
        """Send what is left, and this as the last part."""
        await self.flush()
        await self._reply.write(to_body(outputs), is_last=True)

    def close(self) -> None:
        """Send nothing more."""
        task = self._task
        if task is not None and not task.cancel() and not task.cancelled():
            task.exception()  # seen, also where nobody has waited for it

    async def _send(self, queue: PartQueue) -> None:
        has_begun = False
        async for outputs in queue.parts():
            if has_begun:
                await self._reply.write(to_body(outputs))
                continue
            try:
                part = to_answer(outputs, self._max_bytes)
            except FrontendError as error:
                self._on_failure(error)
                raise
            await self._reply.begin(_with_header(part, STREAM_NEXT))
            has_begun = True


def _with_header(answer: Answer, header: tuple[str, str]) -> Answer:
    others = [each for each in answer.headers if each[0].lower() != header[0]]
    return replace(answer, headers=(*others, header), is_bare=False)
