"""LedEngine: the engine of a group's first process, which tells the others what it does.

They do the same, in the same order, each with an engine of its own: so all meet in what they
compute together. Knows no process and no model.
"""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from torchloom.channel import Channel, Hangup
from torchloom.code_status import CodeStatus, Compiled
from torchloom.engine import Chunk, Engine, Event, Interjecting, Noted, Room, Work
from torchloom.errors import ModelLoadError
from torchloom.footprint import Measured, Reserving
from torchloom.sample import Sample, Sampling
from torchloom.wire import Admit, Cancel, Close, Frame, Open, Ready, Step


_log = logging.getLogger(__name__)

#: At the end, others are waited for no longer than this, each.
_END_S: Final = 5.0


@dataclass(frozen=True, slots=True)
class Leader:
    """The way to the others. With `shares_tasks` they get every task."""

    others: Sequence[Channel]
    shares_tasks: bool = True

    def open(self, frame: Open) -> None:
        """Let the others open their engines, which may wait for each other as they load."""
        self.tell(msgspec.structs.replace(frame, prepare=""))

    def lead(self, engine: Engine) -> Engine:
        """Wait until the others have opened theirs, and lead them. Raises ModelLoadError."""
        if not self.others:
            return engine
        return LedEngine(engine, self, sum(self._wait_ready(each) for each in self.others))

    def tell(self, frame: Frame) -> None:
        """Send the others a frame. If one has ended, this process is about to end as well."""
        for other in self.others:
            with contextlib.suppress(Hangup):
                other.send(frame)

    def wait_end(self) -> None:
        """Wait, within reason, until the others have ended."""
        for other in self.others:
            with contextlib.suppress(Hangup):
                other.receive(wait=True, timeout_s=_END_S)

    def _wait_ready(self, other: Channel) -> int:
        """Give the bytes that another engine holds of the machine's memory, once it is open."""
        try:
            while True:
                for frame in other.receive(wait=True):
                    if isinstance(frame, Ready):
                        return frame.memory_bytes
        except Hangup:
            raise ModelLoadError("Another process of this worker has ended as it loaded.") from None


class LedEngine:
    """An Engine whose every call the others make as well. What they answer counts for nothing.

    `others_bytes`: what they hold of the machine's memory.
    """

    def __init__(self, engine: Engine, leader: Leader, others_bytes: int = 0) -> None:
        self.device = engine.device
        self.notes = (
            *(engine.notes if isinstance(engine, Noted) else ()),
            f"{1 + len(leader.others)} processes",
        )
        self._engine = engine
        self._leader = leader
        self._others_bytes = others_bytes

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._engine.room()

    def tell_through(self, tell: Callable[[Chunk], None]) -> None:
        """Take the way by which chunks leave in the middle of a step."""
        if isinstance(self._engine, Interjecting):
            self._engine.tell_through(tell)

    def admit(self, work: Work) -> None:
        """Take a task in. Raises InvalidInput, and the others do not see it then."""
        self._engine.admit(work)
        item = (work.task_id, dict(work.inputs), dict(work.params), False)
        self._share(Admit([item], {work.task_id: work.session}))

    def step(self) -> Iterable[Event]:
        """Make a step, all together."""
        self._share(Step())
        over: list[int] = []
        try:
            for event in self._engine.step():
                if not isinstance(event, Chunk):
                    over.append(event.task_id)
                yield event
        finally:
            # One of the others may have failed where this one has not, and hold them still.
            self._share(Cancel(over))

    def cancel(self, task_id: int) -> None:
        """Forget a task, everywhere."""
        self._engine.cancel(task_id)
        self._share(Cancel([task_id]))

    def memory_bytes(self) -> int:
        """Give what this one holds of its device's memory, if that can be told."""
        return self._engine.memory_bytes() if isinstance(self._engine, Measured) else 0

    def reserved_bytes(self) -> int:
        """Give what the others hold of the machine's memory: to this process it is promised."""
        own = self._engine.reserved_bytes() if isinstance(self._engine, Reserving) else 0
        return own + self._others_bytes

    def take_samples(self) -> Sequence[Sample]:
        """Give what this one has measured."""
        return self._engine.take_samples() if isinstance(self._engine, Sampling) else ()

    def code_status(self) -> Sequence[CodeStatus]:
        """Say how this one's code stands."""
        return self._engine.code_status() if isinstance(self._engine, Compiled) else ()

    def close(self) -> None:
        """Let all give back what they hold."""
        self._leader.tell(Close())
        self._engine.close()
        self._leader.wait_end()

    def _share(self, frame: Frame) -> None:
        if self._leader.shares_tasks:
            self._leader.tell(frame)
