"""The engine around a handler."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import pytest

from torchloom.engine import Chunk, Event, Failure, Result, Work
from torchloom.errors import HandlerFailed, InvalidInput
from torchloom_models.archive.context import Context
from torchloom_models.archive.engine import HandlerEngine


def context_of() -> Context:
    """Make a context."""
    return Context("net", "/", {}, 4, None, "0.12.0")


def engine_of(entry: object, context: Context | None = None) -> HandlerEngine:
    """Make an engine around a function."""
    return HandlerEngine(
        entry,  # type: ignore[arg-type]  # tests give what users do
        context or context_of(),
        max_tasks=4,
        device="cpu",
    )


def run(engine: HandlerEngine, *works: Work) -> list[Event]:
    """Admit tasks and make one step."""
    for work in works:
        engine.admit(work)
    return list(engine.step())


def values_of(events: Sequence[Event]) -> list[object]:
    """Give the handler's items."""
    return [event.outputs["value"] for event in events if isinstance(event, Result)]


def test_calls_the_handler_once_for_a_batch() -> None:
    """Rows come in their order, each the inputs by name; bytes may be changed in place."""
    calls: list[object] = []

    def handle(data: list[dict[str, object]], _: Context) -> list[object]:
        calls.append(data)
        return [row.get("body", row.get("data")) for row in data]

    events = run(
        engine_of(handle), Work(1, {"body": b"x"}), Work(2, {"data": {"a": 1}}), Work(3, {})
    )

    assert calls == [[{"body": bytearray(b"x")}, {"data": {"a": 1}}, {}]]
    assert [event.task_id for event in events] == [1, 2, 3]
    assert values_of(events) == [None, {"a": 1}, None]


def test_takes_fields_in_place_of_inputs() -> None:
    """Where a workflow hands on whatever a request has held; null means that there are none."""

    def handle(data: list[dict[str, object]], context: Context) -> list[object]:
        types = [context.get_request_header(i, "data") for i in range(len(data))]
        return [[sorted(row), types[i]] for i, row in enumerate(data)]

    fields = {"fields": {"data": b"x", "other": 1}, "content_types": {"data": "text/plain"}}
    events = run(
        engine_of(handle),
        Work(1, {"body": None}, fields),
        Work(2, {"body": "y"}, {"fields": None}),
    )

    assert values_of(events) == [
        [["data", "other"], {"content-type": "text/plain"}],
        [["body"], None],
    ]


def test_tells_the_context_of_each_request() -> None:
    """Headers keep their spelling; purpose, path and media types are among them."""
    context = context_of()

    def handle(data: object, context: Context) -> list[object]:  # noqa: ARG001 - as handlers are
        ids = context.request_ids or {}
        return [
            [
                context.get_request_id(i),
                context.get_all_request_header(i),
                context.get_sequence_id(i),
            ]
            for i in range(len(ids))
        ]

    params = {
        "request_id": "r1",
        "headers": {"X-Mine": "1"},
        "content_types": {"body": "text/plain"},
        "url_path": "v1/chat",
        "sequence_id": "s1",
    }
    one, other = values_of(
        run(engine_of(handle, context), Work(1, {"body": "x"}, params), Work(2, {"data": "y"}))
    )

    assert one == [
        "r1",
        {
            "X-Mine": "1",
            "explain": "False",
            "url_path": "v1/chat",
            "body": {"content-type": "text/plain"},
        },
        "s1",
    ]
    assert isinstance(other, list)
    assert (len(other[0]), other[2]) == (36, None)
    assert other[1]["data"] == {"content-type": ""}


def test_shows_no_header_of_what_is_not_said() -> None:
    """Some of TorchServe's paths tell handlers of neither."""

    def handle(data: object, context: Context) -> list[object]:  # noqa: ARG001 - the handlers' face
        return [context.get_all_request_header(0)]

    params = {"is_explain": None, "url_path": None, "is_describe": True}
    (seen,) = values_of(run(engine_of(handle), Work(1, {}, params)))

    assert seen == {"describe": "True"}


def test_refuses_parameters_that_there_are_not() -> None:
    """A misspelled one must not be lost without a word."""
    with pytest.raises(InvalidInput, match="header"):
        engine_of(lambda data, _: data).admit(Work(1, {}, {"header": {}}))


def test_calls_for_each_purpose_on_its_own() -> None:
    """Handlers look at the first row alone to know what they are asked for."""
    calls: list[list[object]] = []

    def handle(data: list[object], context: Context) -> list[object]:
        told = [context.get_request_header(i, "explain") for i in range(len(data))]
        calls.append([context.get_request_header(0, "describe"), *told])
        return list(data)

    works = [
        Work(1, {}),
        Work(2, {}, {"is_explain": True}),
        Work(3, {}, {"is_describe": True}),
        Work(4, {}),
    ]
    events = run(engine_of(handle), *works)

    assert calls == [[None, "False", "False"], [None, "True"], ["True", "False"]]
    assert sorted(event.task_id for event in events) == [1, 2, 3, 4]


def test_gives_what_the_handler_says_of_each_answer() -> None:
    """Status, phrase, media type and headers are each row's own, and of one batch alone."""

    def handle(data: list[dict[str, object]], context: Context) -> list[object]:
        if data[0]["body"] == "say":
            context.set_response_status(418, "teapot", 1)
            context.set_response_content_type(1, "text/plain")
            context.set_response_header(1, "X-Mine", "2")
        return ["a" for _ in data]

    engine = engine_of(handle)
    plain, said = run(engine, Work(1, {"body": "say"}), Work(2, {"body": ""}))
    (later,) = run(engine, Work(3, {"body": ""}))
    assert isinstance(plain, Result)
    assert isinstance(said, Result)
    assert isinstance(later, Result)

    nothing = {"status": 200, "reason": "", "content_type": None, "headers": {}}
    assert plain.outputs == later.outputs == {"body": b"a", "value": "a", **nothing}
    assert said.outputs == {
        "body": b"a",
        "value": "a",
        "status": 418,
        "reason": "teapot",
        "content_type": "text/plain",
        "headers": {"X-Mine": "2"},
    }


@pytest.mark.parametrize(
    ("answer", "message", "cause"),
    [
        (("a", "b"), "Invalid model predict output", "tuple"),
        (None, "Invalid model predict output", "NoneType"),
        (["a"], "number of batch response mismatched", "1 items for 2 rows"),
        ([], "number of batch response mismatched", "0 items for 2 rows"),
    ],
)
def test_raises_for_what_is_no_list_of_items(
    answer: object, message: str, cause: str, caplog: pytest.LogCaptureFixture
) -> None:
    """The words are TorchServe's; what was wrong with it is told beside them, and in the log."""
    engine = engine_of(lambda *_: answer)

    with pytest.raises(HandlerFailed, match=message) as caught:
        run(engine, Work(1, {}), Work(2, {}))
    assert caught.value.status == 503
    assert cause in caught.value.faults[0].message
    assert cause in caplog.text


def test_fails_a_row_alone_whose_item_cannot_be_sent(caplog: pytest.LogCaptureFixture) -> None:
    """Its neighbours have their answers."""
    caplog.set_level(logging.CRITICAL)
    failed, done = run(engine_of(lambda *_: [object(), 1]), Work(1, {}), Work(2, {}))

    assert isinstance(failed, Failure)
    assert failed.error.message == "Unsupported model output data type."
    assert isinstance(done, Result)


def test_hands_on_what_comes_in_between() -> None:
    """Intermediate answers leave at once, with what was said of them so far; after it, none do."""
    context = context_of()
    chunks: list[Chunk] = []

    def handle(data: list[object], context: Context) -> list[object]:
        context.set_response_content_type(1, "text/plain")
        assert context.tell(1, "so far")
        assert chunks
        return ["done" for _ in data]

    engine = engine_of(handle, context)
    engine.tell_through(chunks.append)
    events = run(engine, Work(7, {}), Work(8, {}))

    (chunk,) = chunks
    assert chunk.task_id == 8
    assert chunk.data["data"] == {
        "body": b"so far",
        "value": "so far",
        "status": 200,
        "reason": "",
        "content_type": "text/plain",
        "headers": {},
    }
    assert len(events) == 2
    assert not context.tell(0, "too late")


def test_forgets_a_row_that_is_cancelled() -> None:
    """The handler does not see it any more."""
    engine = engine_of(lambda data, _: [len(data)] * len(data))
    engine.admit(Work(1, {}))
    engine.cancel(1)
    engine.cancel(1)

    assert values_of(run(engine, Work(2, {}))) == [1]


def test_gives_back_what_the_archive_holds() -> None:
    """Closing the engine closes that, once."""
    closed: list[int] = []
    engine = HandlerEngine(
        lambda data, _: data,
        context_of(),
        max_tasks=1,
        device="cpu",
        close=lambda: closed.append(1),
    )
    engine.close()

    assert closed == [1]
    assert engine.room().max_tasks == 1
    assert engine.memory_bytes() == 0
