"""The contract of every engine: admit, step, cancel. Knows no framework, no process, no queue.

An engine is a loaded model on one device, driven by one thread. An embedder admits up to a batch
and one step finishes all of it; an LLM's step makes one token for every sequence that it holds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

import msgspec

from torchloom.code_status import CodeStatus
from torchloom.errors import BatchContractError, TorchLoomError
from torchloom.policy import SessionPolicy


#: A task's input or output by name: JSON values, bytes, numpy arrays, and lists and dicts of these.
Values = Mapping[str, object]


class Work(msgspec.Struct, frozen=True):
    """What an engine is asked to do for one task."""

    task_id: int
    inputs: Values
    params: Values = {}
    #: Which session it belongs to, for an engine that says it has any; else empty.
    session: str = ""


class Chunk(msgspec.Struct, frozen=True):
    """A piece of a task's answer, as it comes: one of {"text": …}, {"image": …}, {"data": …}."""

    task_id: int
    data: Values


class Result(msgspec.Struct, frozen=True):
    """A task's whole answer.

    Nothing follows it. `counts` feeds metrics, e.g. {"prompt_tokens": 12}. `ends` names the
    sessions of which the engine keeps nothing any more.
    """

    task_id: int
    outputs: Values
    counts: Mapping[str, int] = {}
    ends: Sequence[str] = ()


class Failure(msgspec.Struct, frozen=True):
    """A task that failed, alone. Nothing follows it."""

    task_id: int
    error: TorchLoomError


Event = Chunk | Result | Failure


@dataclass(frozen=True, slots=True, kw_only=True)
class Room:
    """How much an engine can hold.

    `max_tasks` is the most tasks at once. A `is_continuous` engine takes new tasks between steps
    while others are in the middle of theirs; any other is given a batch, and the next when that is
    finished. One with `sessions` keeps something from a task to the next of the same session.
    """

    max_tasks: int
    is_continuous: bool = False
    sessions: SessionPolicy | None = None


class Engine(Protocol):
    """A loaded model on one device. Every method is called from one and the same thread.

    One whose room is bounded by more than a number of tasks also has `occupancy`: see Occupied. One
    that can tell what it holds of its device's memory also has `memory_bytes`: see Measured in
    `footprint.py`. One that compiles also has `code_status`: see Compiled in `code_status.py`.
    """

    #: The device that it runs on, as users write it: `cpu`, `cuda:0`.
    device: str

    def room(self) -> Room:
        """Say how much it can hold. Constant once the engine is made."""
        ...

    def admit(self, work: Work) -> None:
        """Take a task in. Raises InvalidInput, before any work, for an input that it cannot do."""
        ...

    def step(self) -> Iterable[Event]:
        """Do one forward pass for all that was admitted; give chunks, results and failures.

        A generator may yield events while the pass is still going on. If it raises, every task that
        was admitted counts as forgotten after `cancel`, and the worker tries each of them alone.
        """
        ...

    def cancel(self, task_id: int) -> None:
        """Forget a task: its room is free at the next step. An unknown id is ignored."""
        ...

    def close(self) -> None:
        """Give back what it holds outside memory (connections, files). Called once, at the end."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Occupancy:
    """How full an engine is whose room is not a number of tasks alone, as with a cache.

    `is_full`: of the tasks that it was given `num_waiting` wait, and there is no room for the next
    of them; more would only wait as well. `blocks` is how many of its cache's blocks stand in which
    state. So far, a task that ran had to wait again `num_preemptions` times, and of `num_guessed`
    tokens that were guessed ahead `num_accepted` became part of an answer.
    """

    is_full: bool = False
    num_waiting: int = 0
    num_preemptions: int = 0
    num_guessed: int = 0
    num_accepted: int = 0
    blocks: Mapping[str, int] = field(default_factory=dict)


@runtime_checkable
class Occupied(Protocol):
    """An Engine that can tell how full it is."""

    def occupancy(self) -> Occupancy:
        """Say it. Cheap: asked after most steps."""
        ...


@runtime_checkable
class Noted(Protocol):
    """An Engine with something to say of itself to its operator: what was measured, and chosen."""

    #: Whole sentences or short phrases; constant once the engine is made.
    notes: tuple[str, ...]


@runtime_checkable
class Interjecting(Protocol):
    """An Engine that gives chunks in the middle of a step, while `step` has not returned."""

    def tell_through(self, tell: Callable[[Chunk], None]) -> None:
        """Take what hands such a chunk on at once. Called once, before the first task."""
        ...


class BatchEngine:
    """An Engine around a function over a whole batch: one step finishes all that was admitted.

    `forward` takes the batch and gives one output a task, in the same order. `validate`, where
    given, raises InvalidInput for a task that must not join the batch; `measure` tells the bytes
    that it holds of its device's memory, `code` how the code that it runs stands.
    """

    def __init__(
        self,
        forward: Callable[[Sequence[Work]], Sequence[Values]],
        *,
        max_tasks: int,
        device: str = "cpu",
        validate: Callable[[Work], None] | None = None,
        close: Callable[[], None] | None = None,
        notes: Sequence[str] = (),
        measure: Callable[[], int] | None = None,
        code: Callable[[], Sequence[CodeStatus]] = tuple,
    ) -> None:
        self.device = device
        self.notes = tuple(notes)
        self._forward = forward
        self._room = Room(max_tasks=max_tasks)
        self._validate = validate
        self._close = close
        self._measure = measure
        self._code = code
        self._admitted: dict[int, Work] = {}

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._room

    def admit(self, work: Work) -> None:
        """Take a task into the next batch."""
        if self._validate is not None:
            self._validate(work)
        self._admitted[work.task_id] = work

    def step(self) -> list[Event]:
        """Run the batch. Raises BatchContractError unless there is one output a task."""
        batch = list(self._admitted.values())
        outputs = self._forward(batch) if batch else []
        if len(outputs) != len(batch):
            message = f"A batch of {len(batch)} came back with {len(outputs)} results."
            raise BatchContractError(message)
        self._admitted.clear()
        return [Result(work.task_id, output) for work, output in zip(batch, outputs, strict=True)]

    def cancel(self, task_id: int) -> None:
        """Forget a task that has not been stepped yet."""
        self._admitted.pop(task_id, None)

    def memory_bytes(self) -> int:
        """Give what it holds of its device's memory; 0 where nobody has said how to tell."""
        return self._measure() if self._measure is not None else 0

    def code_status(self) -> Sequence[CodeStatus]:
        """Say how the code of its parts stands; nothing where none is compiled."""
        return self._code()

    def close(self) -> None:
        """Give back what the function holds."""
        if self._close is not None:
            self._close()
