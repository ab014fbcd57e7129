"""A worker that the test plays frame by frame, and the executor that starts such workers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence

from torchloom.code_status import CodeStatus
from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.engine import Occupancy
from torchloom.errors import TaskFailed, TorchLoomError
from torchloom.executor import OnEnd, OnFrames
from torchloom.policy import SessionPolicy
from torchloom.sample import Sample
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
    Frame,
    FrameReader,
    GoneEvent,
    Grant,
    Progress,
    Ready,
    ResultEvent,
    WireEvent,
    encode,
    to_error,
)


#: Turns of the event loop after which whatever can happen without outside help has happened.
_TURNS = 200


async def settle() -> None:
    """Let everything happen that can happen without outside help."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def until(is_true: Callable[[], bool]) -> None:
    """Let things happen until a condition holds; fail if it never does."""
    for _ in range(_TURNS):
        if is_true():
            return
        await asyncio.sleep(0)
    raise AssertionError("It never came to be.")


class ScriptedLink:
    """The scheduler's end of a link; the test is the worker at the other end."""

    def __init__(
        self, on_frames: OnFrames, on_end: OnEnd, *, obeys: bool, device: str = "cpu"
    ) -> None:
        self.device = device
        self.pid: int | None = None
        self.sent: list[Frame] = []
        self.is_killed = False
        self.num_taken = 0
        self._on_frames = on_frames
        self._on_end = on_end
        self._obeys = obeys
        self._ended = asyncio.Event()

    # The scheduler's side

    def send(self, frame: Frame) -> None:
        """Take a frame, which travels as it would to a process."""
        (arrived,) = FrameReader().feed(encode(frame))
        if self._ended.is_set():
            return
        self.sent.append(arrived)
        if isinstance(arrived, Close) and self._obeys:
            self.end("exit code 0")

    def kill(self) -> None:
        """End."""
        self.is_killed = True
        self.end("signal SIGKILL")

    async def wait(self) -> None:
        """Wait for the end."""
        await self._ended.wait()

    # The worker's side

    @property
    def batches(self) -> list[list[int]]:
        """The ids of the tasks of each Admit."""
        return [[w[0] for w in frame.work] for frame in self.sent if isinstance(frame, Admit)]

    @property
    def texts(self) -> list[list[object]]:
        """The `text` of the tasks of each Admit."""
        admits = [frame for frame in self.sent if isinstance(frame, Admit)]
        return [[w[1].get("text") for w in frame.work] for frame in admits]

    @property
    def cancelled(self) -> list[int]:
        """The ids of cancelled tasks."""
        return [i for frame in self.sent if isinstance(frame, Cancel) for i in frame.ids]

    @property
    def settings(self) -> list[tuple[str, object]]:
        """The settings that it was told, in order."""
        return [(frame.key, frame.value) for frame in self.sent if isinstance(frame, Apply)]

    @property
    def sessions(self) -> list[str]:
        """The sessions of the tasks that it was sent, in order."""
        admits = [frame for frame in self.sent if isinstance(frame, Admit)]
        return [frame.sessions.get(item[0], "") for frame in admits for item in frame.work]

    def take(self, error: TorchLoomError | None = None) -> None:
        """Answer the next setting that has no answer yet."""
        asked = [frame.id for frame in self.sent if isinstance(frame, Apply)]
        self.num_taken += 1
        reply = to_error(error) if error else None
        self._on_frames([Applied(asked[self.num_taken - 1], reply)])

    def measure(self, *samples: Sample) -> None:
        """Tell what the model's code has measured."""
        self._on_frames([Events([], [], samples=list(samples))])

    @property
    def is_asked_to_close(self) -> bool:
        """Tell whether a Close has come."""
        return any(isinstance(frame, Close) for frame in self.sent)

    @property
    def is_over(self) -> bool:
        """Tell whether it has ended."""
        return self._ended.is_set()

    def ready(
        self,
        max_tasks: int = 4,
        *,
        is_continuous: bool = False,
        memory_bytes: int = 0,
        notes: Sequence[str] = (),
        sessions: SessionPolicy | None = None,
    ) -> None:
        """Announce that the engine is open."""
        place = (self.device, max_tasks, is_continuous)
        self._on_frames([Ready(*place, 0.5, memory_bytes, list(notes), [], sessions)])

    def claim(self, count: int) -> None:
        """Ask for leave to load so many bytes."""
        self._on_frames([Claim(count)])

    @property
    def is_granted(self) -> bool:
        """Tell whether there was leave to load."""
        return any(isinstance(frame, Grant) for frame in self.sent)

    def tell_code(self, *parts: CodeStatus) -> None:
        """Tell how the engine's code stands."""
        self._on_frames([Code(list(parts))])

    def progress(self, what: str, fraction: float | None) -> None:
        """Tell how loading goes."""
        self._on_frames([Progress(what, fraction)])

    def refuse(self, error: TorchLoomError) -> None:
        """Announce that the engine cannot be opened, and end."""
        self._on_frames([Broken(to_error(error))])
        self.end("exit code 0")

    def tell(self, *events: WireEvent, step_s: float = 0.1, size: int = 0) -> None:
        """Send events."""
        self._on_frames([Events(list(events), [(step_s, size)] if size else [])])

    def tell_occupancy(self, occupancy: Occupancy) -> None:
        """Tell how full the engine is."""
        self._on_frames([Events([], [], occupancy)])

    def answer(self, *task_ids: int, step_s: float = 0.1, **outputs: object) -> None:
        """Finish tasks in one step."""
        events = [ResultEvent(task_id, dict(outputs), {}) for task_id in task_ids]
        self.tell(*events, step_s=step_s, size=len(task_ids))

    def end_sessions(self, task_id: int, *names: str) -> None:
        """Finish a task, and sessions with it."""
        self.tell(ResultEvent(task_id, {}, {}, list(names)), size=1)

    def answer_all(self, **outputs: object) -> None:
        """Finish the tasks of the last batch."""
        self.answer(*self.batches[-1], **outputs)

    def count(self, task_id: int, counts: Mapping[str, int]) -> None:
        """Finish a task that counted something."""
        self.tell(ResultEvent(task_id, {}, dict(counts)), size=1)

    def chunk(self, task_id: int, text: str) -> None:
        """Send a piece of an answer."""
        self.tell(ChunkEvent(task_id, {"text": text}))

    def fail(self, task_id: int, error: TorchLoomError | None = None) -> None:
        """Fail a task."""
        self.tell(FailureEvent(task_id, to_error(error or TaskFailed("It would not."))), size=1)

    def let_go(self, *task_ids: int) -> None:
        """Acknowledge cancellations."""
        self.tell(*(GoneEvent(task_id) for task_id in task_ids))

    def end(self, how: str = "signal SIGKILL") -> None:
        """End, as a process does."""
        if not self._ended.is_set():
            self._ended.set()
            self._on_end(how)


class ScriptedExecutor:
    """Starts workers that the test plays; `links` holds them in the order of their start.

    With `max_tasks` they are ready at once, and hold `memory_bytes`. `started` names their models,
    `sessions` is what their engines say of those that they keep.
    Those that do not obey end only when they are killed.
    """

    def __init__(
        self,
        *,
        max_tasks: int | None = 4,
        is_continuous: bool = False,
        obeys: bool = True,
        refusal: OSError | None = None,
        sessions: SessionPolicy | None = None,
    ) -> None:
        self.links: list[ScriptedLink] = []
        self.started: list[str] = []
        self.memory_bytes = 0
        self.max_tasks = max_tasks
        self.is_continuous = is_continuous
        self.refusal = refusal
        self.sessions = sessions
        self._obeys = obeys

    @property
    def link(self) -> ScriptedLink:
        """The worker that was started last."""
        return self.links[-1]

    async def start(
        self, deployment: Deployment, device: Device, on_frames: OnFrames, on_end: OnEnd
    ) -> ScriptedLink:
        """Start a worker."""
        if self.refusal is not None:
            raise self.refusal
        place = "cpu" if device.kind == "auto" else str(device)
        link = ScriptedLink(on_frames, on_end, obeys=self._obeys, device=place)
        self.links.append(link)
        self.started.append(deployment.name)
        link.pid = len(self.links)
        if self.max_tasks is not None:
            asyncio.get_running_loop().call_soon(self._announce, link)
        return link

    def _announce(self, link: ScriptedLink) -> None:
        if not link.is_over and self.max_tasks is not None:
            link.ready(
                self.max_tasks,
                is_continuous=self.is_continuous,
                memory_bytes=self.memory_bytes,
                sessions=self.sessions,
            )
