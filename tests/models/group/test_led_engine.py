"""The engine of a group's first process, and those that follow it, over real sockets."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Sequence

import pytest

from torchloom.channel import SocketChannel
from torchloom.engine import BatchEngine, Engine, Result, Values, Work
from torchloom.errors import InvalidInput, ModelLoadError
from torchloom.wire import Broken, Close, Open, Progress, Ready, to_error
from torchloom_models.group.follower import FollowerChannel, follow
from torchloom_models.group.led_engine import Leader, LedEngine


PATIENCE_S = 20.0


class Twin:
    """An engine of a follower in a thread, which notes what it is asked; it may be told to fail."""

    def __init__(self, *, fails_on: str = "") -> None:
        self.batches: list[list[object]] = []
        self.has_ended = threading.Event()
        self._fails_on = fails_on
        self._ours, theirs = socket.socketpair()
        self.channel = SocketChannel(self._ours)
        engine = BatchEngine(self._forward, max_tasks=8, close=self.has_ended.set)
        self._thread = threading.Thread(target=self._run, args=(engine, theirs), daemon=True)
        self._thread.start()

    def _run(self, engine: Engine, theirs: socket.socket) -> None:
        with theirs:
            follow(engine, SocketChannel(theirs))

    def _forward(self, batch: Sequence[Work]) -> list[Values]:
        self.batches.append([work.inputs["text"] for work in batch])
        if self._fails_on in self.batches[-1]:
            raise ValueError("only here")
        return [{} for _ in batch]

    def end(self) -> list[list[object]]:
        """Wait until it has done all that it was told; give the batches."""
        assert self.has_ended.wait(PATIENCE_S)
        self._thread.join(PATIENCE_S)
        self._ours.close()
        return self.batches


Lead = Callable[..., LedEngine]


def _forward(batch: Sequence[Work]) -> list[Values]:
    if any(work.inputs["text"] == "poison" for work in batch):
        raise ValueError("this is poison")
    return [{"text": work.inputs["text"], "session": work.session} for work in batch]


def _validate(work: Work) -> None:
    if not work.inputs["text"]:
        raise InvalidInput("`text` is empty.")


def lead(*twins: Twin, shares_tasks: bool = True) -> LedEngine:
    """Lead others, which are open."""
    engine = BatchEngine(_forward, max_tasks=8, validate=_validate, notes=["echoes"])
    leader = Leader([twin.channel for twin in twins], shares_tasks=shares_tasks)
    return LedEngine(engine, leader, 7)


def admit(engine: Engine, *texts: str) -> None:
    """Admit a task for each text, whose ids go on from where they were."""
    for text in texts:
        engine.admit(Work(hash(text), {"text": text}, {}, f"s-{text}"))


def test_makes_each_step_with_the_others() -> None:
    """The same batches in the same order; what the first one answers is the answer."""
    twins = Twin(), Twin()
    engine = lead(*twins)
    admit(engine, "a", "b")
    first = list(engine.step())
    admit(engine, "c")
    second = list(engine.step())
    engine.close()

    assert [event.outputs for event in first if isinstance(event, Result)] == [
        {"text": "a", "session": "s-a"},
        {"text": "b", "session": "s-b"},
    ]
    assert [event.outputs["text"] for event in second if isinstance(event, Result)] == ["c"]
    assert [twin.end() for twin in twins] == [[["a", "b"], ["c"]]] * 2


def test_tells_the_others_what_it_forgets() -> None:
    """And does not tell them of what it has refused."""
    twin = Twin()
    engine = lead(twin)
    with pytest.raises(InvalidInput):
        admit(engine, "")
    admit(engine, "a", "b")
    engine.cancel(hash("a"))
    list(engine.step())
    engine.close()

    assert twin.end() == [["b"]]


def test_keeps_step_where_one_alone_fails() -> None:
    """Whichever it is: nothing of that batch is in the next one."""
    twin = Twin(fails_on="odd")
    engine = lead(twin)
    admit(engine, "odd", "b")
    list(engine.step())
    admit(engine, "poison", "c")
    with pytest.raises(ValueError, match="poison"):
        list(engine.step())
    for text in ("poison", "c"):
        engine.cancel(hash(text))
    admit(engine, "d")
    list(engine.step())
    engine.close()

    assert twin.end() == [["odd", "b"], ["poison", "c"], ["d"]]


def test_keeps_tasks_to_itself_where_they_are_not_shared() -> None:
    """In a pipeline the others hear of tasks by what they compute. They end with it even so."""
    twin = Twin()
    engine = lead(twin, shares_tasks=False)
    admit(engine, "a")
    assert len(list(engine.step())) == 1
    engine.close()

    assert twin.end() == []


def test_says_of_itself_what_the_first_one_does() -> None:
    """What the others hold is promised to it."""
    twins = Twin(), Twin()
    engine = lead(*twins)

    assert (engine.device, engine.notes) == ("cpu", ("echoes", "3 processes"))
    assert engine.room().max_tasks == 8
    assert (engine.memory_bytes(), engine.reserved_bytes()) == (0, 7)
    assert (engine.take_samples(), engine.code_status()) == ((), ())
    engine.close()
    assert [twin.end() for twin in twins] == [[], []]


def test_goes_on_without_one_that_has_ended() -> None:
    """This process is about to end then, too: whoever started it sees to that."""
    twin = Twin()
    twin.channel.send(Close())
    assert twin.has_ended.wait(PATIENCE_S)
    engine = lead(twin)
    admit(engine, "a")
    assert len(list(engine.step())) == 1
    engine.close()
    assert twin.end() == []


@pytest.fixture
def pair() -> Iterator[tuple[SocketChannel, socket.socket]]:
    """Give both ends of a connection."""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield SocketChannel(ours), theirs


def test_waits_until_the_others_are_open(pair: tuple[SocketChannel, socket.socket]) -> None:
    """They open at the same time, and their memory counts."""
    channel, theirs = pair
    other = FollowerChannel(SocketChannel(theirs), lambda _: None)
    leader = Leader([channel])
    leader.open(Open("a:b", {"x": 1}, "cpu", "a:prepare"))
    assert list(other.receive(wait=True)) == [Open("a:b", {"x": 1}, "cpu")]
    other.send(Progress("loading", 0.5))
    other.send(Ready("cpu", 1, False, 0.1, 100))
    engine = leader.lead(BatchEngine(_forward, max_tasks=1))

    assert isinstance(engine, LedEngine)
    assert engine.reserved_bytes() == 100


def test_does_not_open_where_another_has_ended(pair: tuple[SocketChannel, socket.socket]) -> None:
    """Which the scheduler is told by that one itself."""
    channel, theirs = pair
    told: list[Broken] = []
    broken = Broken(to_error(ModelLoadError("no luck")))
    FollowerChannel(SocketChannel(theirs), told.append).send(broken)
    theirs.shutdown(socket.SHUT_RDWR)

    with pytest.raises(ModelLoadError, match="ended as it loaded"):
        Leader([channel]).lead(BatchEngine(_forward, max_tasks=1))
    assert told == [broken]


def test_leads_nobody_where_it_is_alone() -> None:
    """The engine is what it was."""
    engine = BatchEngine(_forward, max_tasks=1)

    assert Leader([]).lead(engine) is engine
