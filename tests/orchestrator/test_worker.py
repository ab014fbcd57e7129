"""The worker: admits, steps, sends events back, and settles what models get wrong."""

from __future__ import annotations

import ctypes
import os
import re
import runpy
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from loom_fakes.engines import PATIENCE_S, Chatter, Streamer, deploy

from torchloom import farewell, huge_pages
from torchloom import worker as worker_module
from torchloom.channel import Hangup
from torchloom.code_status import CodeState, CodeStatus
from torchloom.engine import (
    BatchEngine,
    Chunk,
    Engine,
    Event,
    Occupancy,
    Result,
    Room,
    Values,
    Work,
)
from torchloom.errors import InvalidInput
from torchloom.sample import Sample
from torchloom.wire import (
    Admit,
    AnyFrame,
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
    Open,
    Progress,
    Ready,
    ResultEvent,
    encode,
)
from torchloom.worker import Worker, import_factory, open_engine


#: What a worker is sent at one look: frames, or None where the scheduler has hung up.
Look = Sequence[AnyFrame] | None


class _Script:
    """A Channel that gives the worker what the test has written, look by look."""

    def __init__(self, *looks: Look) -> None:
        self.sent: list[Frame] = []
        self._looks = list(looks)

    def receive(self, *, wait: bool, timeout_s: float | None = None) -> Iterable[AnyFrame]:
        """Give the next look; at the end of the script, go on until nothing is left to do."""
        if not self._looks:
            return [Close()] if wait and timeout_s is None else []
        frames = self._looks.pop(0)
        if frames is None:
            raise Hangup
        return frames

    def send(self, frame: Frame) -> None:
        """Take a frame, which must be able to travel."""
        (arrived,) = FrameReader().feed(encode(frame))
        self.sent.append(arrived)

    @property
    def events(self) -> list[object]:
        """Every event, in order."""
        return [event for frame in self.sent if isinstance(frame, Events) for event in frame.events]

    @property
    def answers(self) -> dict[int, object]:
        """The text of each result, or the message of each failure, by task."""
        answers: dict[int, object] = {}
        for event in self.events:
            if isinstance(event, ResultEvent):
                assert event.id not in answers
                answers[event.id] = event.outputs.get("text")
            elif isinstance(event, FailureEvent):
                assert event.id not in answers
                answers[event.id] = f"{event.error.name}: {event.error.message}"
        return answers

    @property
    def sizes(self) -> list[int]:
        """How many tasks each step worked on."""
        frames = [frame for frame in self.sent if isinstance(frame, Events)]
        return [size for frame in frames for _, size in frame.steps]


class _Recorder(BatchEngine):
    """Gives each text back in capitals; raises for a batch that holds a bad one."""

    def __init__(self, bad: str = "", *, raises: type[BaseException] = ValueError) -> None:
        super().__init__(self._forward, max_tasks=8, close=self._note_close)
        self.batches: list[list[int]] = []
        self.is_closed = False
        self._bad = bad
        self._raises = raises

    def _forward(self, batch: Sequence[Work]) -> list[Values]:
        self.batches.append([work.task_id for work in batch])
        texts = [str(work.inputs["text"]) for work in batch]
        if self._bad in texts:
            raise self._raises(f"cannot do {self._bad!r}")
        return [{"text": text.upper()} for text in texts]

    def _note_close(self) -> None:
        self.is_closed = True


def _admit(*texts: str, first: int = 1, wants_chunks: bool = False) -> Admit:
    work = [(first + i, {"text": text}, {}, wants_chunks) for i, text in enumerate(texts)]
    return Admit(work)


def _serve(engine: Engine, *looks: Look) -> _Script:
    script = _Script(*looks)
    Worker(engine, script).serve()
    return script


def test_steps_over_one_batch_after_another() -> None:
    """Frames that have come together are batches of their own; one that is cancelled leaves."""
    engine = _Recorder()
    look = [_admit("a", "b"), _admit("c", first=3), _admit("d", first=4), Cancel([3])]
    script = _serve(engine, look)
    assert engine.batches == [[1, 2], [4]]
    assert script.answers == {1: "A", 2: "B", 4: "D"}


def test_steps_over_all_that_was_admitted() -> None:
    """One frame of tasks is one batch, and its answers come back in one frame."""
    engine = _Recorder()
    script = _serve(engine, [_admit("a", "b", "c")])
    assert script.answers == {1: "A", 2: "B", 3: "C"}
    assert (engine.batches, script.sizes) == ([[1, 2, 3]], [3])
    assert len(script.sent) == 1


def test_closes_the_engine_at_the_end() -> None:
    """Asked to close, or left by the scheduler, it gives back what the engine holds."""
    for last in ([Close()], None):
        engine = _Recorder()
        _serve(engine, last)
        assert engine.is_closed


def test_does_no_step_for_a_scheduler_that_is_gone() -> None:
    """A hang-up while tasks wait ends it: nobody would get the answers."""
    engine = _Recorder()
    script = _serve(engine, [_admit("a")], None)
    assert (engine.batches, engine.is_closed) == ([[1]], True)
    assert script.answers == {1: "A"}


def test_passes_over_frames_that_only_go_the_other_way() -> None:
    """A frame that is not for it does no harm, and is answered by nothing."""
    script = _serve(_Recorder(), [Progress("?", None)], [_admit("a")])
    assert script.answers == {1: "A"}
    assert len(script.sent) == 1


def test_fails_a_refused_input_alone_and_before_any_work() -> None:
    """What the engine does not admit is settled; its neighbours are worked on."""

    def validate(work: Work) -> None:
        if work.inputs["text"] == "":
            raise InvalidInput("`text` is empty.")
        if work.inputs["text"] == "bug":
            raise KeyError("shape")

    engine = BatchEngine(lambda batch: [w.inputs for w in batch], max_tasks=8, validate=validate)
    script = _serve(engine, [_admit("a", "", "bug", "b")])
    assert script.answers == {
        1: "a",
        2: "InvalidInput: `text` is empty.",
        3: "TaskFailed: KeyError: 'shape'",
        4: "b",
    }
    assert script.sizes == [2]


def test_tries_each_task_of_a_failed_batch_alone() -> None:
    """One bad input fails alone: the batch is tried again one by one, once."""
    engine = _Recorder("bad")
    script = _serve(engine, [_admit("a", "bad", "c")])
    assert script.answers == {1: "A", 2: "TaskFailed: ValueError: cannot do 'bad'", 3: "C"}
    assert engine.batches == [[1, 2, 3], [1], [2], [3]]


def test_lets_tasks_that_come_meanwhile_wait() -> None:
    """While tasks are tried alone, newcomers do not join them; then they are a batch again."""
    engine = _Recorder("bad")
    script = _serve(engine, [_admit("a", "bad")], [_admit("c", "d", first=3)])
    assert engine.batches == [[1, 2], [1], [2], [3, 4]]
    assert list(script.answers) == [1, 2, 3, 4]


def test_cancels_a_task_that_waits_to_be_tried_alone() -> None:
    """A cancelled task leaves every place where it can be, and is acknowledged once."""
    engine = _Recorder("bad")
    script = _serve(
        engine, [_admit("a", "bad", "c")], [Cancel([1, 2]), _admit("d", first=4)], [Cancel([4])]
    )
    assert engine.batches == [[1, 2, 3], [3]]
    assert script.answers == {3: "C"}
    assert [e.id for e in script.events if isinstance(e, GoneEvent)] == [1, 2, 4]


def test_fails_the_whole_batch_that_breaks_the_contract() -> None:
    """Too few results fail that batch, and are not tried again: the engine is at fault."""
    engine = BatchEngine(lambda batch: [{}] * (len(batch) - 1), max_tasks=8)
    script = _serve(engine, [_admit("a", "b")], [_admit("c", first=3)])
    message = "BatchContractError: A batch of {} came back with {} results."
    assert script.answers == {
        1: message.format(2, 1),
        2: message.format(2, 1),
        3: message.format(1, 0),
    }
    assert script.sizes == [2, 1]


@pytest.mark.parametrize("outputs", [None, [1], {1: "a"}, "text"])
def test_refuses_results_without_names(outputs: object) -> None:
    """An engine that does not answer with a dict by name fails its tasks, and nothing else."""
    engine = BatchEngine(lambda batch: [outputs for _ in batch], max_tasks=8)  # type: ignore[misc]  # on purpose
    script = _serve(engine, [_admit("a")])
    assert str(script.answers[1]).startswith("BatchContractError: An engine gives values by name")


@pytest.mark.parametrize(
    "value",
    [object(), 2**70, "\ud800", np.array([None]), {"deep": {"er": {1, object()}}}],
    ids=["object", "big", "surrogate", "array", "nested"],
)
def test_fails_an_answer_that_cannot_travel_alone(value: object) -> None:
    """Whatever a model returns, its neighbours' answers arrive."""

    def forward(batch: Sequence[Work]) -> list[Values]:
        return [{"text": value if w.inputs["text"] == "bad" else "ok"} for w in batch]

    script = _serve(BatchEngine(forward, max_tasks=8), [_admit("a", "bad", "c")])
    assert (script.answers[1], script.answers[3]) == ("ok", "ok")
    assert str(script.answers[2]).startswith("TaskFailed: TypeError: ")
    assert script.sizes == [3]


def test_takes_counts_of_any_number_type() -> None:
    """What an engine counts arrives as whole numbers."""

    class Counting(_Recorder):
        def step(self) -> list[Event]:
            self._admitted.clear()
            return [Result(1, {}, {"tokens": np.int32(3), "more": 2.0})]  # type: ignore[dict-item]  # on purpose

    script = _serve(Counting(), [_admit("a")])
    assert script.events == [ResultEvent(1, {}, {"tokens": 3, "more": 2})]


def test_streams_chunks_between_steps_to_those_who_want_them() -> None:
    """A continuous engine takes newcomers between steps; chunks go where they are wanted."""
    script = _serve(
        Streamer({}),
        [_admit("a b", wants_chunks=True)],
        [_admit("x y z", first=2)],
    )
    assert script.events == [
        ChunkEvent(1, {"text": "a"}),
        ChunkEvent(1, {"text": "b"}),
        ResultEvent(1, {"text": "a b"}, {"completion_tokens": 2}),
        ResultEvent(2, {"text": "x y z"}, {"completion_tokens": 3}),
    ]
    assert script.sizes == [1, 2, 2, 1, 1]


def test_tells_of_quiet_steps_with_the_next_events() -> None:
    """Steps that give nothing to anyone wake the scheduler only after a while."""
    together = _serve(Streamer({}), [_admit("a b c")])
    assert [len(frame.steps) for frame in together.sent if isinstance(frame, Events)] == [4]

    script = _Script([_admit("a b c")])
    Worker(Streamer({}), script, quiet_s=0.0).serve()
    assert [len(frame.steps) for frame in script.sent if isinstance(frame, Events)] == [1, 1, 1, 1]


def test_sends_all_chunks_of_a_generator_in_order() -> None:
    """A step may be a generator of any number of chunks, and may fail a task of its own accord."""
    words = [f"w{i}" for i in range(1000)]
    script = _serve(Chatter({}), [_admit(" ".join(words), "fail", wants_chunks=True)])
    texts = [e.data["text"] for e in script.events if isinstance(e, ChunkEvent) and e.id == 1]
    assert texts == words
    assert script.answers == {1: " ".join(words), 2: "TaskFailed: It would not."}


class _Interjecting(_Recorder):
    """Gives each task's chunk while its step goes on; the test looks at what was sent by then."""

    script: _Script

    def tell_through(self, tell: Callable[[Chunk], None]) -> None:
        """Take the way out."""
        self._tell_chunk = tell

    def step(self) -> list[Event]:
        """Tell first."""
        for task_id in list(self._admitted):
            self._tell_chunk(Chunk(task_id, {"text": "so far"}))
        self.sent_within = list(self.script.events)
        return super().step()


def test_sends_what_comes_in_the_middle_of_a_step_at_once() -> None:
    """A chunk that an engine gives while its step goes on leaves then, to whom wants chunks."""
    engine = _Interjecting()
    both = [*_admit("a", wants_chunks=True).work, *_admit("b", first=2).work]
    engine.script = _Script([Admit(both)])
    Worker(engine, engine.script).serve()

    assert engine.sent_within == [ChunkEvent(1, {"text": "so far"})]
    assert [type(event) for event in engine.script.events] == [
        ChunkEvent,
        ResultEvent,
        ResultEvent,
    ]


class _Sampling(_Recorder):
    """Measures each batch."""

    def take_samples(self) -> list[Sample]:
        """Give the size of the last batch, if it was no single one."""
        size = len(self.batches[-1])
        return [Sample("size", "gauge", "Count", {}, size)] if size > 1 else []


def test_sends_what_the_model_has_measured() -> None:
    """After each step the engine is asked; nothing is sent where there is nothing."""
    script = _serve(_Sampling(), [_admit("a", "b")], [_admit("c", first=3)])

    samples = [frame.samples for frame in script.sent if isinstance(frame, Events)]
    assert [each for each in samples if each] == [[Sample("size", "gauge", "Count", {}, 2)]]


def test_does_not_try_again_what_has_begun_to_answer() -> None:
    """After a step that raised, what has sent chunks fails; what nobody saw is tried again."""
    works = [
        (1, {"text": "a b"}, {}, True),
        (2, {"text": "c d"}, {}, False),
        (3, {"text": "bad", "raise_after": 1}, {}, False),
    ]
    script = _serve(Streamer({}), [Admit(works)])
    assert script.answers == {
        1: "TaskFailed: RuntimeError: lost the thread",
        2: "c d",
        3: "TaskFailed: RuntimeError: lost the thread",
    }


def test_stops_stepping_for_a_task_that_was_cancelled() -> None:
    """Cancellation reaches the engine before its next step; the engine holds nothing of it."""
    engine = Streamer({})
    script = _serve(engine, [_admit("a b c d e", wants_chunks=True)], [], [Cancel([1])])
    assert script.events == [
        ChunkEvent(1, {"text": "a"}),
        ChunkEvent(1, {"text": "b"}),
        GoneEvent(1),
    ]
    assert engine._held == {}


def test_acknowledges_a_cancellation_of_what_is_already_over() -> None:
    """An answer may cross a cancellation: both are told."""
    script = _serve(_Recorder(), [_admit("a")], [Cancel([1])])
    assert script.answers == {1: "A"}
    assert script.events[-1] == GoneEvent(1)


def test_lets_the_process_end_on_what_is_no_exception_of_a_model() -> None:
    """SystemExit and the like are not swallowed; the engine is closed on the way out."""
    engine = _Recorder("bad", raises=SystemExit)
    with pytest.raises(SystemExit):
        _serve(engine, [_admit("bad")])
    assert engine.is_closed


def _open(factory: str, device: str = "cpu") -> tuple[Engine | None, list[Frame]]:
    script = _Script()
    deployment = deploy(factory)
    engine = open_engine(Open(deployment.factory, {}, device), script)
    return engine, script.sent


def test_announces_an_engine_with_its_room() -> None:
    """Progress while it loads, then where it runs and what it can hold."""
    engine, sent = _open("open_echo")
    assert engine is not None
    *progress, ready = sent
    assert progress == [Progress("opening", 0.5)]
    assert isinstance(ready, Ready)
    assert (ready.device, ready.max_tasks, ready.is_continuous) == ("cpu", 8, False)
    assert ready.notes == ["echoes"]


@pytest.mark.parametrize(
    ("factory", "device", "message"),
    [
        ("open_broken", "cpu", "ModelLoadError: The weights are missing."),
        ("open_buggy", "cpu", "ModelLoadError: LookupError: no such layer"),
        ("open_nothing", "cpu", "ModelLoadError: AttributeError: .*'open_nothing'"),
        ("open_echo", "toaster", "DeviceUnavailable: Unknown device 'toaster'.*"),
    ],
)
def test_says_why_an_engine_does_not_open(factory: str, device: str, message: str) -> None:
    """Whatever keeps a model from loading travels as an error, of its own class if it is ours."""
    engine, sent = _open(factory, device)
    assert engine is None
    (broken,) = sent
    assert isinstance(broken, Broken)
    assert re.fullmatch(message, f"{broken.error.name}: {broken.error.message}")


def test_says_why_an_engine_has_no_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """An engine that fails when it is asked for its room has not loaded."""

    def fail(_: Engine) -> Room:
        raise RuntimeError("no memory")

    monkeypatch.setattr(BatchEngine, "room", fail)
    engine, sent = _open("open_echo")
    assert engine is None
    assert isinstance(sent[-1], Broken)


def test_imports_a_factory_by_its_path() -> None:
    """`package.module:function`, also of a module that is not imported yet."""
    assert import_factory("torchloom.worker:open_engine") is open_engine
    with pytest.raises(ModuleNotFoundError):
        import_factory("no_such_module:x")


class _Compiling(_Recorder):
    """Says at each look how far it has come, and at the end the same again and again."""

    def __init__(self, *states: CodeState | Exception) -> None:
        super().__init__()
        self.looks = 0
        self._states = states

    def code_status(self) -> list[CodeStatus]:
        state = self._states[min(self.looks, len(self._states) - 1)]
        self.looks += 1
        if isinstance(state, Exception):
            raise state
        return [CodeStatus(part="all", state=state)]


def _codes(script: _Script) -> list[str]:
    return [part.state for frame in script.sent if isinstance(frame, Code) for part in frame.parts]


def _serve_looking(engine: Engine, *looks: Look) -> _Script:
    script = _Script(*looks)
    Worker(engine, script, look_s=0.0).serve()
    return script


def test_tells_while_it_is_idle_that_code_has_been_made() -> None:
    """What compiles beside is watched until it is done, and told when it has changed."""
    engine = _Compiling("compiling", "compiling", "compiled")
    assert _codes(_serve_looking(engine)) == ["compiling", "compiled"]
    assert engine.looks == 3


def test_says_when_the_last_code_has_come() -> None:
    """Once each time that nothing compiles any more, not at every look."""
    engine = _Compiling("compiling", "compiled", "compiled", "compiling", "compiling", "compiled")
    looks: list[int] = []
    script = _Script([], [_admit("a")], [], [_admit("b")], [], [_admit("c")], [], [])
    Worker(engine, script, look_s=0.0, on_settled=lambda: looks.append(engine.looks)).serve()
    assert looks == [2, 6]


def test_looks_again_after_a_step() -> None:
    """A step may ask for code; one that asks for none is followed by one look, and no frame."""
    engine = _Compiling("compiled", "compiling", "compiled")
    script = _serve_looking(engine, [], [_admit("a")], [])
    assert _codes(script) == ["compiled", "compiling", "compiled"]
    engine = _Compiling("compiled")
    assert _codes(_serve_looking(engine, [], [_admit("a")], [], [])) == ["compiled"]
    assert engine.looks == 2


def test_does_not_look_between_all_steps() -> None:
    """Within the interval steps follow each other without a look, while something compiles too."""
    states: tuple[CodeState, ...] = ("compiled", "compiling")
    for state in states:
        engine = _Compiling(state)
        script = _Script([_admit("a")], [_admit("b", first=2)], [Close()])
        Worker(engine, script, look_s=3600.0).serve()
        assert script.answers == {1: "A", 2: "B"}
        assert engine.looks == 1


def test_does_not_watch_what_compiles_nothing() -> None:
    """An engine without code is asked once."""
    script = _serve_looking(_Recorder(), [], [_admit("a")], [])
    assert _codes(script) == []
    assert not any(isinstance(frame, Code) for frame in script.sent)


def test_serves_on_if_the_engine_cannot_tell_how_its_code_stands() -> None:
    """A look that raises costs no task, and is the last."""
    engine = _Compiling("compiled", ValueError("lost"), "compiling")
    script = _serve_looking(engine, [], [_admit("a")], [_admit("b", first=2)])
    assert (script.answers, _codes(script)) == ({1: "A", 2: "B"}, ["compiled"])
    assert engine.looks == 2


def test_says_when_it_is_ready_how_its_code_stands(monkeypatch: pytest.MonkeyPatch) -> None:
    """With the word that it serves comes what is compiled, in words that can travel."""
    part = CodeStatus(part="all", state="eager", failures=("no \udcff", "x" * 5000))
    monkeypatch.setattr(BatchEngine, "code_status", lambda _: [part])
    script = _Script()
    open_engine(Open(deploy("open_echo").factory, {}, "cpu"), script)
    ready = script.sent[-1]
    assert isinstance(ready, Ready)
    assert ready.code == [replace(part, failures=("no ?", "x" * 2000))]


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [(Grant(), [Progress, Claim, Progress, Ready]), (Close(), [Progress, Claim])],
)
def test_loads_what_it_has_fetched_only_with_leave(answer: AnyFrame, kinds: list[type]) -> None:
    """It says how much it will load, and waits; where it is to end instead, it loads nothing."""
    script = _Script([answer])
    prepare = deploy("fetch").factory
    engine = open_engine(Open(deploy("open_echo").factory, {}, "cpu", prepare), script)
    assert [type(frame) for frame in script.sent] == kinds
    assert script.sent[1] == Claim(7)
    assert (engine is not None) == isinstance(answer, Grant)


def test_says_why_there_is_nothing_to_load() -> None:
    """A model that cannot be fetched claims nothing."""
    script = _Script()
    config: dict[str, object] = {"is_missing": True}
    frame = Open(deploy("open_echo").factory, config, "cpu", deploy("fetch").factory)
    assert open_engine(frame, script) is None
    assert isinstance(script.sent[-1], Broken)
    assert script.sent[-1].error.message == "There is no such model."


class _Adjustable(_Recorder):
    """Takes a speed of up to ten."""

    def __init__(self) -> None:
        super().__init__()
        self.settings: list[tuple[str, object]] = []

    def apply_setting(self, key: str, value: object) -> None:
        if key != "speed":
            raise ValueError(key)
        if isinstance(value, int) and value > 10:
            raise InvalidInput("Too fast.")
        self.settings.append((key, value))


def test_tells_the_engine_settings() -> None:
    """Whoever asked hears what came of it, whatever the engine raised."""
    engine = _Adjustable()
    asked = [Apply(1, "speed", 3), Apply(2, "speed", 99), Apply(3, "?", 1), Apply(4, "speed", None)]
    script = _serve(engine, asked)

    answers = [frame for frame in script.sent if isinstance(frame, Applied)]

    assert engine.settings == [("speed", 3), ("speed", None)]
    assert [answer.id for answer in answers] == [1, 2, 3, 4]
    assert [answer.error and answer.error.message for answer in answers] == [
        None,
        "Too fast.",
        "ValueError: ?",
        None,
    ]


def test_refuses_settings_for_an_engine_that_takes_none() -> None:
    """It says so, and goes on."""
    script = _serve(_Recorder(), [Apply(1, "speed", 3)], [_admit("a")])

    (answer,) = (frame for frame in script.sent if isinstance(frame, Applied))

    assert answer.error is not None
    assert "takes no settings" in answer.error.message
    assert any(isinstance(frame, Events) for frame in script.sent)


def _start_process() -> tuple[subprocess.Popen[bytes], socket.socket]:
    ours, theirs = socket.socketpair()
    with theirs:
        command = [sys.executable, "-m", "torchloom.worker", str(theirs.fileno())]
        process = subprocess.Popen(command, pass_fds=[theirs.fileno()], stderr=subprocess.DEVNULL)
    ours.settimeout(PATIENCE_S)
    return process, ours


def _read_frame(connection: socket.socket, is_it: Callable[[AnyFrame], bool]) -> AnyFrame:
    reader = FrameReader()
    while True:
        data = connection.recv(65_536)
        assert data, "The worker has hung up."
        for frame in reader.feed(data):
            if is_it(frame):
                return frame


@pytest.mark.usefixtures("worker_path")
def test_serves_over_an_inherited_socket_until_it_is_left() -> None:
    """As a process it serves, stays through Ctrl-C and SIGTERM, and ends with the scheduler."""
    process, connection = _start_process()
    with connection:
        connection.sendall(encode(Open(deploy("open_echo").factory, {}, "cpu")))
        _read_frame(connection, lambda frame: isinstance(frame, Ready))
        for number in (signal.SIGINT, signal.SIGTERM):
            process.send_signal(number)
        connection.sendall(encode(_admit("a")))
        events = _read_frame(connection, lambda frame: isinstance(frame, Events))
        assert isinstance(events, Events)
        assert isinstance(events.events[0], ResultEvent)
        assert events.events[0].outputs["pid"] == process.pid != os.getpid()
    assert process.wait(PATIENCE_S) == 0


def test_ends_if_nobody_ever_tells_it_what_to_open() -> None:
    """A scheduler that is gone before its first frame leaves no process behind."""
    process, connection = _start_process()
    connection.close()
    assert process.wait(PATIENCE_S) == 0


def _main(monkeypatch: pytest.MonkeyPatch, *frames: Frame) -> tuple[list[AnyFrame], list[object]]:
    """Run the worker as a program here, with stand-ins for what would change this process."""
    calls: list[object] = []
    monkeypatch.setattr(signal, "signal", lambda number, _: calls.append(number))
    library = SimpleNamespace(prctl=lambda *what: calls.append(what))
    monkeypatch.setattr(ctypes, "CDLL", lambda _: library)
    monkeypatch.setattr(huge_pages, "gather_beside", lambda: calls.append("gather"))
    monkeypatch.setattr(farewell, "leave", lambda: calls.append("leave"))
    ours, theirs = socket.socketpair()
    monkeypatch.setattr(sys, "argv", ["worker", str(theirs.detach())])
    with ours:
        for frame in frames:
            ours.sendall(encode(frame))
        ours.shutdown(socket.SHUT_WR)
        runpy.run_path(str(worker_module.__file__), run_name="__main__")
        return list(FrameReader().feed(ours.recv(65_536))), calls


def test_dies_with_its_parent_and_by_no_other_signal(monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel is asked to kill it with the server; Ctrl-C and SIGTERM are the server's.

    What its engine holds is gathered into huge pages once it is ready.
    """
    sent, calls = _main(monkeypatch, Open(deploy("open_echo").factory, {}, "cpu"))
    assert calls == [(1, signal.SIGKILL), signal.SIGINT, signal.SIGTERM, "gather", "leave"]
    assert isinstance(sent[-1], Ready)


def test_ends_after_an_engine_that_does_not_open(monkeypatch: pytest.MonkeyPatch) -> None:
    """It says why, and there is nothing to serve."""
    sent, _ = _main(monkeypatch, Close(), Open(deploy("open_broken").factory, {}, "cpu"))
    assert [type(frame) for frame in sent] == [Broken]


class _Filling(Streamer):
    """Is full while it holds more than one task."""

    def occupancy(self) -> Occupancy:
        return Occupancy(is_full=len(self._held) > 1, num_waiting=max(len(self._held) - 1, 0))


def test_tells_how_full_its_engine_is() -> None:
    """With the events, where it has changed."""
    script = _Script([Admit([(n, {"text": "a b"}, {}, True) for n in (1, 2)])], [], [], [])
    Worker(_Filling({}), script).serve()

    frames = [frame for frame in script.sent if isinstance(frame, Events)]
    assert [frame.occupancy for frame in frames] == [
        Occupancy(is_full=True, num_waiting=1),
        None,
        Occupancy(is_full=False),
    ]
