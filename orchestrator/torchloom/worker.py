"""The worker: opens one engine and drives it; admit, step, send events back.

Knows no queue, no pool and no other worker. It has the only broad `except`s of the core: where a
model's code returns. Run as `python -m torchloom.worker FD`, it talks over the socket that it
inherits.
"""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import socket
import sys
import time
from collections import deque
from collections.abc import Callable, Iterable
from typing import cast

from torchloom import garbage, huge_pages
from torchloom.channel import Channel, Hangup, SocketChannel
from torchloom.code_status import CodeStatus, Compiled, is_changing
from torchloom.deployment import EngineFactory, Preparation, Report
from torchloom.device import Device
from torchloom.engine import (
    Chunk,
    Engine,
    Event,
    Interjecting,
    Noted,
    Occupancy,
    Occupied,
    Result,
    Work,
)
from torchloom.errors import (
    BatchContractError,
    HandlerFailed,
    InvalidInput,
    ModelLoadError,
    TorchLoomError,
)
from torchloom.farewell import leave
from torchloom.footprint import bytes_of, resident_bytes
from torchloom.sample import Sample, Sampling
from torchloom.setting import Settable
from torchloom.wire import (
    Admit,
    Applied,
    Apply,
    Broken,
    Cancel,
    ChunkEvent,
    Claim,
    Close,
    Code,
    Events,
    FailureEvent,
    GoneEvent,
    Grant,
    Open,
    Progress,
    Ready,
    ResultEvent,
    WireEvent,
    named,
    sendable,
    sendable_status,
    to_error,
)
from torchloom.worker_process import settle_in


_log = logging.getLogger(__name__)

#: Steps that gave no event are told together, this long after the first of them at the latest: a
#: frame for each would wake the scheduler between all steps, on cores that the steps need.
_QUIET_S = 0.1

#: How long after a step, and how often while something compiles, the engine is asked how its code
#: stands.
_LOOK_S = 0.5


def open_engine(
    frame: Open,
    channel: Channel,
    *,
    has_own_process: bool = False,
    wrap: Callable[[Engine], Engine] = lambda engine: engine,
) -> Engine | None:
    """Open the engine that a frame describes; announce that it is ready, or why it is not.

    What `wrap` makes of it is what serves.
    """
    started = time.perf_counter()
    before = resident_bytes() if has_own_process else None

    def report(what: str, fraction: float | None) -> None:
        channel.send(Progress(what, fraction))

    try:
        if frame.prepare and not _claim(frame, channel, report):
            return None
        with garbage.importing() if has_own_process else contextlib.nullcontext():
            factory = import_factory(frame.factory)
        engine = wrap(factory(frame.config, Device.parse(frame.device), report))
        if has_own_process:
            garbage.set_aside()
        room = engine.room()
        memory = bytes_of(engine, before)
        code = code_of(engine)
    except TorchLoomError as error:
        channel.send(Broken(to_error(error)))
        return None
    except Exception as error:  # noqa: BLE001 - a model's code may raise anything as it loads
        _log.exception("The engine could not be opened.")
        failure = ModelLoadError(f"{type(error).__name__}: {error}")
        channel.send(Broken(to_error(failure)))
        return None
    load_s = time.perf_counter() - started
    notes = list(engine.notes) if isinstance(engine, Noted) else []
    place = (engine.device, room.max_tasks, room.is_continuous)
    channel.send(Ready(*place, load_s, memory, notes, code, room.sessions))
    if has_own_process:
        huge_pages.gather_beside()
    return engine


def _claim(frame: Open, channel: Channel, report: Report) -> bool:
    """Fetch what is to be loaded, and wait for leave to load it; tell whether there was any."""
    prepare = cast("Preparation", _import(frame.prepare))
    channel.send(Claim(prepare(frame.config, report)))
    # While it loads it is sent nothing else but Close: nobody waits for it any more.
    return all(isinstance(answer, Grant) for answer in channel.receive(wait=True))


def code_of(engine: Engine) -> list[CodeStatus]:
    """Ask an engine how its code stands; nothing where it compiles none."""
    return (
        [sendable_status(p) for p in engine.code_status()] if isinstance(engine, Compiled) else []
    )


def import_factory(path: str) -> EngineFactory:
    """Import `package.module:function`."""
    return cast("EngineFactory", _import(path))


def _import(path: str) -> object:
    module, _, name = path.partition(":")
    return getattr(importlib.import_module(module), name)


class Worker:
    """Drives one engine until the channel closes.

    A step that raises fails nobody at once: each task that has sent nothing yet is tried again
    alone, and then settled. Tasks that come meanwhile wait here.
    """

    def __init__(
        self,
        engine: Engine,
        channel: Channel,
        *,
        quiet_s: float = _QUIET_S,
        look_s: float = _LOOK_S,
        on_settled: Callable[[], object] | None = None,
    ) -> None:
        self._engine = engine
        self._channel = channel
        self._quiet_s = quiet_s
        self._look_s = look_s
        #: Called when nothing compiles any more, after something did: new code has come.
        self._on_settled = on_settled
        self._is_continuous = engine.room().is_continuous
        self._is_compiled = isinstance(engine, Compiled)
        # Asked once: to compare with a protocol takes longer than a small step.
        self._sampling = engine if isinstance(engine, Sampling) else None
        self._occupied = engine if isinstance(engine, Occupied) else None
        #: When to ask for its code next; None: not before there was a step.
        self._look_at: float | None = 0.0 if self._is_compiled else None
        self._told_code: list[CodeStatus] = []
        self._held: dict[int, Work] = {}
        self._wants_chunks: set[int] = set()
        self._has_sent: set[int] = set()
        self._alone: deque[Work] = deque()
        #: What was sent together; an engine that takes tasks at any time does not care.
        self._waiting: deque[list[Work]] = deque()
        self._events: list[WireEvent] = []
        self._steps: list[tuple[float, int]] = []
        self._samples: list[Sample] = []
        self._told_occupancy: Occupancy | None = None
        if isinstance(engine, Interjecting):
            engine.tell_through(self._interject)

    def serve(self) -> None:
        """Admit and step until a Close or a hang-up."""
        try:
            while self._take_frames():
                self._admit_next()
                if self._held:
                    self._step()
                else:
                    self._flush()
                self._tell_code()
        except Hangup:
            _log.info("The scheduler has hung up.")
        finally:
            self._engine.close()

    def _take_frames(self) -> bool:
        has_work = bool(self._held or self._alone or self._waiting or self._events)
        for frame in self._channel.receive(wait=not has_work, timeout_s=self._rest_s()):
            if isinstance(frame, Admit):
                sessions = frame.sessions
                batch = [Work(*item[:3], sessions.get(item[0], "")) for item in frame.work]
                self._waiting.append(batch)
                self._wants_chunks.update(item[0] for item in frame.work if item[3])
            elif isinstance(frame, Cancel):
                self._cancel(frame.ids)
            elif isinstance(frame, Apply):
                self._apply(frame)
            elif isinstance(frame, Close):
                return False
        return True

    def _apply(self, frame: Apply) -> None:
        """Tell the engine a setting, and whoever asked what came of it."""
        if not isinstance(self._engine, Settable):
            refusal = InvalidInput("This model takes no settings while it serves.")
            self._channel.send(Applied(frame.id, to_error(refusal)))
            return
        try:
            self._engine.apply_setting(frame.key, frame.value)
        except Exception as error:  # noqa: BLE001 - a model's code may raise anything; one asker is told
            self._channel.send(Applied(frame.id, to_error(error)))
        else:
            self._channel.send(Applied(frame.id))

    def _cancel(self, ids: Iterable[int]) -> None:
        for task_id in ids:
            self._engine.cancel(task_id)
            self._alone = deque(work for work in self._alone if work.task_id != task_id)
            kept = ([each for each in b if each.task_id != task_id] for b in self._waiting)
            self._waiting = deque(batch for batch in kept if batch)
            self._events.append(GoneEvent(task_id))
            self._forget(task_id)

    def _admit_next(self) -> None:
        """Admit what waits; or, after a step that raised, the next of its tasks by itself.

        What was sent ahead of the end of a batch waits for that end, batch by batch.
        """
        if self._held and (self._alone or not self._is_continuous):
            return
        if self._alone:
            self._admit(self._alone.popleft())
            return
        while self._waiting and (self._is_continuous or not self._held):
            for work in self._waiting.popleft():
                self._admit(work)

    def _admit(self, work: Work) -> None:
        try:
            self._engine.admit(work)
        except Exception as error:  # noqa: BLE001 - a model may raise anything; one task is settled
            self._fail(work.task_id, error)
        else:
            self._held[work.task_id] = work

    def _step(self) -> None:
        size = len(self._held)
        started = time.perf_counter()
        try:
            for event in self._engine.step():
                self._add(event)
        except Exception as error:  # noqa: BLE001 - a model may raise anything; its batch is settled
            self._recover(error)
        now = time.perf_counter()
        self._steps.append((now - started, size))
        if self._sampling is not None:
            self._samples += self._sampling.take_samples()
        if self._is_compiled and self._look_at is None:
            self._look_at = now + self._look_s
        if self._events or sum(seconds for seconds, _ in self._steps) >= self._quiet_s:
            self._flush()

    def _interject(self, chunk: Chunk) -> None:
        """Send a chunk now: its step still goes on."""
        self._add(chunk)
        self._flush()

    def _recover(self, error: Exception) -> None:
        """Empty the engine after a step that raised; try each task again alone, or fail it."""
        trace = None if isinstance(error, HandlerFailed) else error  # its engine has told of it
        _log.error("A step over %d tasks raised: %s", len(self._held), error, exc_info=trace)
        held = list(self._held.values())
        for work in held:
            self._engine.cancel(work.task_id)
            can_retry = len(held) > 1 and work.task_id not in self._has_sent
            if can_retry and not isinstance(error, BatchContractError):
                del self._held[work.task_id]
                self._alone.append(work)
            else:
                self._fail(work.task_id, error)

    def _add(self, event: Event) -> None:
        if isinstance(event, Chunk):
            # What nobody sees does not count as sent.
            if event.task_id in self._wants_chunks:
                self._has_sent.add(event.task_id)
                self._events.append(ChunkEvent(event.task_id, named(event.data)))
        elif isinstance(event, Result):
            outputs = named(event.outputs)
            counts = {name: int(count) for name, count in event.counts.items()}
            ends = [str(session) for session in event.ends]
            self._events.append(ResultEvent(event.task_id, outputs, counts, ends))
            self._forget(event.task_id)
        else:
            self._fail(event.task_id, event.error)

    def _fail(self, task_id: int, error: Exception) -> None:
        self._events.append(FailureEvent(task_id, to_error(error)))
        self._forget(task_id)

    def _forget(self, task_id: int) -> None:
        self._held.pop(task_id, None)
        self._wants_chunks.discard(task_id)
        self._has_sent.discard(task_id)

    def _flush(self) -> None:
        events, self._events = self._events, []
        steps, self._steps = self._steps, []
        samples, self._samples = self._samples, []
        if not (events or steps or samples):
            return
        occupancy = self._news_of_occupancy()
        try:
            self._channel.send(Events(events, steps, occupancy, samples))
        except TypeError:
            for event in events:
                self._channel.send(Events([sendable(event)], []))
            self._channel.send(Events([], steps, occupancy, samples))

    def _news_of_occupancy(self) -> Occupancy | None:
        if self._occupied is None:
            return None
        occupancy = self._occupied.occupancy()
        if occupancy == self._told_occupancy:
            return None
        self._told_occupancy = occupancy
        return occupancy

    def _rest_s(self) -> float | None:
        """Say how long it may sleep; None: until there is something to do."""
        return None if self._look_at is None else max(self._look_at - time.perf_counter(), 0.0)

    def _tell_code(self) -> None:
        """Tell how the engine's code stands, where that has changed; not at every step."""
        if self._look_at is None or time.perf_counter() < self._look_at:
            return
        self._look_at = None
        try:
            code = code_of(self._engine)
        except Exception:  # noqa: BLE001 - a model may raise anything; nothing hangs on this
            _log.exception("The engine cannot tell how its code stands, and is not asked again.")
            self._is_compiled = False
            return
        was_changing = is_changing(self._told_code)
        if code != self._told_code:
            self._channel.send(Code(code))
            self._told_code = code
        self._is_compiled = bool(code)
        if is_changing(code):
            self._look_at = time.perf_counter() + self._look_s
        elif was_changing and self._on_settled is not None:
            self._on_settled()


def main() -> None:
    """Serve the scheduler at the other end of the inherited socket."""
    settle_in(os.environ)
    with socket.socket(fileno=int(sys.argv[1])) as connection, contextlib.suppress(Hangup):
        channel = SocketChannel(connection)
        for frame in channel.receive(wait=True):
            if isinstance(frame, Open):
                engine = open_engine(frame, channel, has_own_process=True)
                if engine is not None:
                    Worker(engine, channel, on_settled=huge_pages.gather_beside).serve()


if __name__ == "__main__":
    main()
    leave()
