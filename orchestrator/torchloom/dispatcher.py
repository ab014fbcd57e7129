"""Dispatcher: hands out what waits in a pool's queue to the replicas that have room.

Which replica is next, which tasks it may take and how many is decided in `choice.py` and
`batcher.py`. Knows neither callers nor how a task is settled: whoever owns it does that.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Callable, Collection

from torchloom.batcher import Arrivals
from torchloom.choice import hints_for, how_many, roomiest
from torchloom.deployment import Deployment
from torchloom.fleet import Fleet
from torchloom.queue import TaskQueue
from torchloom.replica import Replica
from torchloom.session import Sessions
from torchloom.step_cost import StepCost
from torchloom.task import Task


class Dispatcher:
    """The only one who takes tasks from the queue of a pool.

    Hands out together what is submitted in one turn of the event loop, but where batches have one
    task; and at once when a replica has room. `on_expired` is to settle a task whose deadline has
    passed while it waited, `on_taken` hears that places in the queue are free.
    """

    def __init__(
        self,
        deployment: Deployment,
        queue: TaskQueue,
        fleet: Fleet,
        sessions: Sessions,
        *,
        now: Callable[[], float],
        on_expired: Callable[[Task], None],
        on_taken: Callable[[], None],
    ) -> None:
        self._queue = queue
        self._fleet = fleet
        self._sessions = sessions
        self._now = now
        self._on_expired = on_expired
        self._on_taken = on_taken
        self._batching = deployment.batching
        self._is_batched = deployment.batching.max_size != 1
        #: What steps cost, by device: one queue may feed fast and slow ones.
        self._costs: defaultdict[str, StepCost] = defaultdict(StepCost)
        self._arrivals = Arrivals()
        self._timer: asyncio.TimerHandle | None = None
        self._is_due = False

    @property
    def is_about_to(self) -> bool:
        """Tell whether it is still to hand out, at the end of this turn or when a timer rings."""
        return self._is_due or self._timer is not None

    def take_in(self, task: Task) -> None:
        """Hand out a task that has been accepted, or have it wait in the queue."""
        self._arrivals.observe(task.queued_at)
        replica = self._free_replica(task)
        if replica is not None:
            replica.dispatch([task])
            self._fleet.autoscaler.look()
            return
        self._queue.add(task)
        if self._is_batched:
            self.ask()
        else:
            self.hand_out()

    def _free_replica(self, task: Task) -> Replica | None:
        """Give who can be sent a task at once, past the queue: it is a whole batch, for anybody.

        So it is with most tasks where batches have one, and it takes a third of the time.
        """
        if self._is_batched or task.hint or len(self._queue):
            return None
        return roomiest(self._fleet, ())

    def on_step(self, device: str, size: int, seconds: float) -> None:
        """Learn from a step."""
        self._costs[device].observe(size, seconds)

    def expected_step_s(self, device: str, size: int) -> float:
        """Forecast a step from those that were."""
        return self._costs[device].expected_s(size)

    @property
    def fastest_step_s(self) -> float:
        """Give the mean time of a step where it takes the least; 0 before the first."""
        return min((cost.mean_s for cost in self._costs.values()), default=0.0)

    def stop(self) -> None:
        """Let no timer ring any more."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def ask(self) -> None:
        """Hand out at the end of this turn of the event loop."""
        if not self._is_due:
            self._is_due = True
            asyncio.get_running_loop().call_soon(self.hand_out)

    def hand_out(self) -> None:
        """Give the replicas with room what waits."""
        self._is_due = False
        self.stop()
        if len(self._queue):
            self._hand_out()
        self._fleet.autoscaler.look()

    def _hand_out(self) -> None:
        if self._fleet.is_evicted:
            self._fleet.wake()
        self._sessions.place(self._fleet.replicas)
        passed: set[Replica] = set()
        waits: list[float] = []
        while len(self._queue) and (replica := roomiest(self._fleet, passed)) is not None:
            hints = hints_for(replica, self._fleet.replicas, self._queue.hints)
            first = self._peek(hints)
            if first is None or (first.deaths and not replica.is_idle):
                passed.add(replica)
                continue
            size = how_many(
                replica,
                first,
                queued=self._queue.count(hints),
                now=self._now(),
                policy=self._batching,
                cost=self._costs[replica.device],
                arrivals=self._arrivals,
            )
            if not isinstance(size, int):
                waits += [size.seconds] if size else []
                passed.add(replica)
                continue
            self._send(replica, size, hints)
            # What is next now may be for those who were passed over.
            passed.clear()
            waits.clear()
        if waits:
            self._timer = asyncio.get_running_loop().call_later(min(waits), self.ask)

    def _send(self, replica: Replica, size: int, hints: Collection[str]) -> None:
        batch: list[Task] = []
        while len(batch) < size and (task := self._peek(hints)) is not None:
            # One that has been there when a worker died goes by itself.
            if task.deaths and batch:
                break
            batch.append(self._queue.take(hints))
        if batch:
            replica.dispatch(batch)
        self._on_taken()

    def _peek(self, hints: Collection[str]) -> Task | None:
        """Give the task that goes next, settling those on the way whose deadline has passed."""
        while (task := self._queue.peek(hints)) is not None:
            if task.deadline is None or task.deadline > self._now():
                break
            self._on_expired(task)
        return task
