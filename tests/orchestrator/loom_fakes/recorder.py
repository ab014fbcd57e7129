"""Recorder: what the scheduler's end of a link hears, and ways to wait for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable

from loom_fakes.engines import PATIENCE_S
from torchloom.wire import AnyFrame


class Recorder:
    """Keeps every frame and the ends; give its methods to an executor."""

    def __init__(self) -> None:
        self.frames: list[AnyFrame] = []
        self.ends: list[str] = []
        self._changed = asyncio.Event()

    def on_frames(self, frames: Iterable[AnyFrame]) -> None:
        """Hear frames that came together."""
        for frame in frames:
            assert not self.ends, "A frame came after the end."
            self.frames.append(frame)
            self._changed.set()

    def on_end(self, how: str) -> None:
        """Hear of the end."""
        self.ends.append(how)
        self._changed.set()

    async def wait_for(self, is_it: Callable[[AnyFrame], bool]) -> AnyFrame:
        """Give the first frame of a kind, once it has come."""
        await self._wait_until(lambda: any(is_it(frame) for frame in self.frames))
        return next(frame for frame in self.frames if is_it(frame))

    async def wait_end(self) -> str:
        """Give how it ended, once it has."""
        await self._wait_until(lambda: bool(self.ends))
        (how,) = self.ends
        return how

    async def _wait_until(self, is_true: Callable[[], bool]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not is_true():
                self._changed.clear()
                await self._changed.wait()
