"""Continuous, sequence and asynchronous batching, as archives ask for them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import make_mar

from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import HandlerFailed, InvalidModel
from torchloom.policy import SessionPolicy
from torchloom_models.archive.batching import AnyEngine, Batching


#: Opens an archive with the keys of a model file.
Open = Callable[..., AnyEngine]


def open_with(
    open_archive: Open, tmp_path: Path, handler: str, config: str, **model_file: object
) -> AnyEngine:
    """Open an archive around a handler, with a configuration and keys of the model file."""
    name = handler.removesuffix(".py")
    source = make_mar(tmp_path, name, handler, {"model-config.yaml": config})
    return open_archive(source, **model_file)


def told(events: list[Event]) -> list[tuple[int, type, object]]:
    """Give the task, the sort, and the handler's item of each event."""
    found: list[tuple[int, type, object]] = []
    for event in events:
        if isinstance(event, Chunk):
            data = event.data["data"]
            assert isinstance(data, dict)
            found.append((event.task_id, Chunk, data["value"]))
        elif isinstance(event, Result):
            found.append((event.task_id, Result, event.outputs["value"]))
    return found


def test_lets_requests_come_and_go_between_calls(open_archive: Open, tmp_path: Path) -> None:
    """A request stays as long as its answers say that more follows; others join meanwhile."""
    engine = open_with(
        open_archive, tmp_path, "continuous.py", "batchSize: 4\ncontinuousBatching: true\n"
    )
    engine.admit(Work(1, {"body": b"2"}))
    first = told(list(engine.step()))
    engine.admit(Work(2, {"body": b"0"}))
    second = told(list(engine.step()))
    third = told(list(engine.step()))

    assert engine.room().is_continuous
    assert first == [(1, Chunk, [2, 1])]
    assert second == [(1, Chunk, [1, 2]), (2, Result, [0, 2])]
    assert third == [(1, Result, [0, 1])]
    assert list(engine.step()) == []


CRITERIA = "batchSize: 4\ncontinuousBatching: true\n"


def test_goes_on_until_the_criteria_of_a_handler_say_so(open_archive: Open, tmp_path: Path) -> None:
    """They are asked of each answer, as TorchServe asks them; rows end one by one."""
    engine = open_with(open_archive, tmp_path, "criteria.py", CRITERIA)
    engine.admit(Work(1, {"body": 3}))
    engine.admit(Work(2, {"body": 1}))
    calls = [told(list(engine.step())) for _ in range(4)]

    assert calls == [
        [(1, Chunk, {"count": 1, "rows": 2}), (2, Result, {"count": 1, "rows": 2})],
        [(1, Chunk, {"count": 2, "rows": 1})],
        [(1, Result, {"count": 3, "rows": 1})],
        [],
    ]


def test_takes_a_criterion_that_says_nothing_for_the_end(
    open_archive: Open, tmp_path: Path
) -> None:
    """So handlers of both kinds of requests tell those that ask for no stream."""
    engine = open_with(open_archive, tmp_path, "criteria.py", CRITERIA)
    engine.admit(Work(1, {"body": 0}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert event.outputs["headers"] == {}
    assert list(engine.step()) == []


def test_tells_clients_that_more_follows(open_archive: Open, tmp_path: Path) -> None:
    """By the header that streams have; the last answer has none."""
    engine = open_with(open_archive, tmp_path, "criteria.py", CRITERIA)
    engine.admit(Work(1, {"body": 2}))
    (first,), (last,) = list(engine.step()), list(engine.step())

    assert isinstance(first, Chunk)
    assert isinstance(last, Result)
    data = first.data["data"]
    assert isinstance(data, dict)
    assert data["headers"] == {"ts_stream_next": "true"}
    assert last.outputs["headers"] == {}


def test_fails_what_a_criterion_raises_for(open_archive: Open, tmp_path: Path) -> None:
    """As what the handler itself raises."""
    engine = open_with(open_archive, tmp_path, "criteria.py", CRITERIA)
    engine.admit(Work(1, {"body": 99}))

    with pytest.raises(HandlerFailed, match="Prediction failed"):
        list(engine.step())


def test_asks_no_criteria_where_rows_do_not_stay(open_archive: Open, tmp_path: Path) -> None:
    """Each has one answer then."""
    engine = open_with(open_archive, tmp_path, "criteria.py", "batchSize: 4\n")
    engine.admit(Work(1, {"body": 3}))

    assert told(list(engine.step())) == [(1, Result, {"count": 1, "rows": 1})]


def test_forgets_a_request_whose_client_has_left(open_archive: Open, tmp_path: Path) -> None:
    """The next call is without it."""
    engine = open_with(
        open_archive, tmp_path, "continuous.py", "batchSize: 4\ncontinuousBatching: true\n"
    )
    engine.admit(Work(1, {"body": b"5"}))
    list(engine.step())
    engine.cancel(1)
    engine.admit(Work(2, {"body": b"0"}))

    assert told(list(engine.step())) == [(2, Result, [0, 1])]


SEQUENCES = "sequenceBatching: true\nbatchSize: 4\nmaxNumSequence: 2\nmaxSequenceJobQueueSize: 4\n"


def sequence(own: str, *, is_start: bool = False) -> dict[str, object]:
    """Give the params of a request of a sequence."""
    start = {"ts_request_sequence_start": "true"} if is_start else {}
    return {"headers": {"ts_request_sequence_id": own, **start}}


def test_works_on_one_request_of_each_sequence_at_a_time(
    open_archive: Open, tmp_path: Path
) -> None:
    """Those of one sequence go in their order; those of others beside them."""
    engine = open_with(open_archive, tmp_path, "sequences.py", SEQUENCES)
    engine.admit(Work(1, {"body": 1}, sequence("a", is_start=True)))
    engine.admit(Work(2, {"body": 2}, sequence("a")))
    engine.admit(Work(3, {"body": 10}, sequence("b", is_start=True)))

    assert told(list(engine.step())) == [(1, Result, [1, 2]), (3, Result, [10, 2])]
    assert told(list(engine.step())) == [(2, Result, [3, 1])]


def test_takes_the_next_request_of_a_sequence_beside_one_that_streams(
    open_archive: Open, tmp_path: Path
) -> None:
    """Where rows stay as well, so that it can stop the stream; a third waits for its turn."""
    engine = open_with(
        open_archive, tmp_path, "criteria.py", f"{SEQUENCES}continuousBatching: true\n"
    )
    engine.admit(Work(1, {"body": 3}, sequence("a", is_start=True)))
    engine.admit(Work(2, {"body": 1}, sequence("a")))
    engine.admit(Work(3, {"body": 1}, sequence("a")))
    engine.admit(Work(4, {"body": 1}, sequence("b", is_start=True)))

    assert [told(list(engine.step())) for _ in range(3)] == [
        [(1, Chunk, {"count": 1, "rows": 2}), (4, Result, {"count": 1, "rows": 2})],
        [(1, Chunk, {"count": 2, "rows": 2}), (2, Result, {"count": 1, "rows": 2})],
        [(1, Result, {"count": 3, "rows": 2}), (3, Result, {"count": 1, "rows": 2})],
    ]


def test_tells_which_sequences_end(open_archive: Open, tmp_path: Path) -> None:
    """Where the handler says so; one that was begun for a request is told by its answer."""
    engine = open_with(open_archive, tmp_path, "sequences.py", SEQUENCES)
    engine.admit(Work(1, {"body": 7}, session="ts-seq-1"))
    (event,) = engine.step()
    assert isinstance(event, Result)
    headers = event.outputs["headers"]
    engine.admit(Work(2, {"body": 0}, sequence("ts-seq-1"), "ts-seq-1"))
    (last,) = engine.step()

    assert headers == {"ts_request_sequence_id": "ts-seq-1"}
    assert isinstance(last, Result)
    assert (event.ends, last.ends, last.outputs["value"]) == ([], ["ts-seq-1"], [7, 1])


def test_says_how_many_sequences_there_may_be(open_archive: Open, tmp_path: Path) -> None:
    """Whoever schedules knows which are open, and of which worker each is."""
    engine = open_with(open_archive, tmp_path, "sequences.py", SEQUENCES)

    assert engine.room() == Room(
        max_tasks=10,
        is_continuous=True,
        sessions=SessionPolicy(max_open=2, max_waiting=4, prefix="ts-seq-"),
    )


def test_goes_by_the_headers_that_the_model_file_names(open_archive: Open, tmp_path: Path) -> None:
    """The handler finds their names in its context."""
    names = {"id": "x-id", "start": "x-start", "end": "x-end"}
    engine = open_with(open_archive, tmp_path, "sequences.py", SEQUENCES, sequence_headers=names)
    engine.admit(Work(1, {"body": 1}, {"headers": {"X-Id": "a", "X-Start": "true"}}, "a"))
    engine.admit(Work(2, {"body": 0}, {"headers": {"X-Id": "a"}}, "a"))
    first, last = [event for _ in "12" for event in engine.step()]

    assert isinstance(first, Result)
    assert isinstance(last, Result)
    assert first.outputs["headers"] == {"x-id": "a"}
    assert last.outputs["headers"] == {"x-id": "a", "x-end": "a"}
    assert last.ends == ["a"]


def test_does_not_call_a_handler_of_sequences_again_for_what_it_has_half_done(
    open_archive: Open, tmp_path: Path
) -> None:
    """All requests of a call that raises fail, and the sequences go on."""
    engine = open_with(open_archive, tmp_path, "sequences.py", SEQUENCES)
    engine.admit(Work(1, {"body": 1}, sequence("a", is_start=True)))
    list(engine.step())
    engine.admit(Work(2, {"body": 2}, sequence("a")))
    engine.admit(Work(3, {"body": "no number"}, sequence("b", is_start=True)))
    failed = list(engine.step())
    engine.admit(Work(4, {"body": 4}, sequence("a")))

    assert [(type(each), each.task_id) for each in failed] == [(Failure, 2), (Failure, 3)]
    assert told(list(engine.step())) == [(4, Result, [7, 1])]


ASYNC = "asyncCommunication: true\n"


def settle(engine: AnyEngine, num_events: int) -> list[Event]:
    """Step until so many events have come."""
    events: list[Event] = []
    while len(events) < num_events:
        events += engine.step()
    return events


def test_lets_coroutines_go_on_together(open_archive: Open, tmp_path: Path) -> None:
    """Each waits for the other here; each has a context of its own, and streams."""
    engine = open_with(open_archive, tmp_path, "coroutine.py", ASYNC)
    engine.admit(Work(1, {"body": "a"}))
    begun = settle(engine, 1)
    engine.admit(Work(2, {"body": "b"}))
    ended = settle(engine, 3)
    results = {each.task_id: each for each in ended if isinstance(each, Result)}

    assert engine.room().is_continuous
    assert told(begun) == [(1, Chunk, "begun a")]
    assert told(ended)[0] == (2, Chunk, "begun b")
    assert {number: each.outputs["value"] for number, each in results.items()} == {1: "a", 2: "b"}
    assert results[1].outputs["headers"] == {"X-Body": "a"}


def test_fails_a_coroutine_alone(open_archive: Open, tmp_path: Path) -> None:
    """What it raises is told as of any handler."""
    engine = open_with(open_archive, tmp_path, "coroutine.py", ASYNC)
    engine.admit(Work(1, {"body": "fail"}))
    engine.admit(Work(2, {"body": "many"}))
    events = settle(engine, 2)

    messages = [each.error.message for each in events if isinstance(each, Failure)]
    assert messages == ["Prediction failed", "number of batch response mismatched"]


def test_cancels_a_coroutine(open_archive: Open, tmp_path: Path) -> None:
    """Where the client has left, the handler is told where it waits."""
    engine = open_with(open_archive, tmp_path, "coroutine.py", ASYNC)
    engine.admit(Work(1, {"body": "forever"}))
    assert list(engine.step()) == []
    engine.cancel(1)
    engine.cancel(1)

    assert list(engine.step()) == []


def test_reads_what_a_configuration_says() -> None:
    """Times are milliseconds there; texts stand for yes and no, too."""
    plain = Batching.read({})
    said = Batching.read(
        {
            "batchSize": "8",
            "sequenceBatching": True,
            "continuousBatching": "true",
            "maxNumSequence": 3,
            "maxSequenceJobQueueSize": 5,
            "sequenceMaxIdleMSec": 500,
            "sequenceTimeoutMSec": 2000,
        }
    )

    assert (plain.size, plain.is_continuous, plain.sequences, plain.loop) == (1, False, None, None)
    assert (said.size, said.is_continuous) == (8, True)
    assert said.sequences is not None
    assert said.sequences.policy == SessionPolicy(
        max_open=3, max_waiting=5, max_idle_s=0.5, max_life_s=2, prefix="ts-seq-"
    )


@pytest.mark.parametrize(
    ("key", "value"), [("maxNumSequence", 0), ("sequenceMaxIdleMSec", "x"), ("batchSize", -1)]
)
def test_refuses_numbers_that_cannot_be(key: str, value: object) -> None:
    """The message names the key."""
    with pytest.raises(InvalidModel, match=f"`{key}`"):
        Batching.read({"sequenceBatching": True, key: value})


def test_lets_one_request_of_a_sequence_wait_unless_told_otherwise() -> None:
    """As TorchServe does."""
    sequences = Batching.read({"sequenceBatching": True}).sequences

    assert sequences is not None
    assert sequences.policy.max_waiting == 1
