"""HeardExecutor: starts workers by another executor, and tells when one has loaded its model.

Nobody has to look for them, and one that is gone at once is not missed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Iterator

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.executor import Executor, Link, OnEnd, OnFrames
from torchloom.wire import AnyFrame, Ready


class HeardExecutor:
    """Calls `on_loaded` once a worker is ready, and whoever has started it knows that."""

    def __init__(self, executor: Executor, on_loaded: Callable[[], None]) -> None:
        self._executor = executor
        self._on_loaded = on_loaded

    async def start(
        self, deployment: Deployment, device: Device, on_frames: OnFrames, on_end: OnEnd
    ) -> Link:
        """Start a worker. Raises what the other executor raises."""
        has_loaded = False

        def hear(frames: Iterable[AnyFrame]) -> None:
            if has_loaded:
                on_frames(frames)
                return
            on_frames(look_for_ready(frames))
            if has_loaded:
                # Not from within: what goes wrong there is nothing that the worker has done.
                asyncio.get_running_loop().call_soon(self._on_loaded)

        def look_for_ready(frames: Iterable[AnyFrame]) -> Iterator[AnyFrame]:
            nonlocal has_loaded
            for frame in frames:
                has_loaded = has_loaded or isinstance(frame, Ready)
                yield frame

        return await self._executor.start(deployment, device, hear, on_end)
