"""Follower: a process of a group that does as the first one does. Knows no process and no model."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable

from torchloom.channel import Channel, Hangup
from torchloom.engine import Engine, Work
from torchloom.wire import Admit, AnyFrame, Broken, Cancel, Close, Frame, Ready, Step


_log = logging.getLogger(__name__)


class FollowerChannel:
    """The Channel of an engine that is opened: tells the first process when it is ready.

    `tell_broken` takes what keeps it from that: the first one may be waiting in its own engine.
    """

    def __init__(self, channel: Channel, tell_broken: Callable[[Broken], None]) -> None:
        self._channel = channel
        self._tell_broken = tell_broken

    def receive(self, *, wait: bool, timeout_s: float | None = None) -> Iterable[AnyFrame]:
        """Give what the first process sends."""
        return self._channel.receive(wait=wait, timeout_s=timeout_s)

    def send(self, frame: Frame) -> None:
        """Tell that it is ready, or broken; how loading goes, the first process says."""
        if isinstance(frame, Broken):
            self._tell_broken(frame)
        elif isinstance(frame, Ready):
            self._channel.send(frame)


def follow(engine: Engine, channel: Channel) -> None:
    """Do what the first process says, until a Close or its end."""
    try:
        while True:
            for frame in channel.receive(wait=True):
                if isinstance(frame, Close):
                    return
                _obey(engine, frame)
    except Hangup:
        _log.info("The first process of the worker has ended.")
    finally:
        engine.close()


def _obey(engine: Engine, frame: AnyFrame) -> None:
    try:
        if isinstance(frame, Admit):
            for task_id, inputs, params, _ in frame.work:
                engine.admit(Work(task_id, inputs, params, frame.sessions.get(task_id, "")))
        elif isinstance(frame, Step):
            for _ in engine.step():
                pass
        elif isinstance(frame, Cancel):
            for task_id in frame.ids:
                engine.cancel(task_id)
    except Exception:  # noqa: BLE001 - a model may raise anything; the first process decides
        _log.exception("A step of this process failed; the first one of the worker goes on.")
