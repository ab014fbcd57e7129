"""NodeRun: inputs, attempts, fallback, cache, foreach and items of one node."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import msgspec
import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.graphs import Computed, bind, model_node, to_binding
from loom_fakes.scripted import settle, until
from loom_fakes.watcher import NotingWatcher

from torchloom import fan_out as fan_out_module
from torchloom.cache import ResultCache, Sink
from torchloom.engine import Values
from torchloom.errors import (
    BatchContractError,
    Cancelled,
    DeadlineExceeded,
    HandlerFailed,
    InvalidInput,
    ItemFailed,
    ModelLoadError,
    NodeFailed,
    NotServing,
    QueueFull,
    TaskFailed,
    TorchLoomError,
    UnknownModel,
    WorkerDied,
)
from torchloom.feed import Feed
from torchloom.graph import Constant, Fallback, Items, ModelCall, Node, TemplateCall, WorkflowCall
from torchloom.node_run import NodeRun, Skipped
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom.run_options import CallOptions
from torchloom.task import COPY_PRIORITY
from torchloom.time_limit import TimeLimits
from torchloom.timings import Meter


Answer = Callable[[Values, Sink | None], Awaitable[Values]]


class _Caller:
    """Answers calls as the test says, and notes them."""

    def __init__(self, *answers: Values | TorchLoomError | Answer) -> None:
        self.calls: list[tuple[str, Values, Values, CallOptions]] = []
        self._answers = list(answers)
        self.limits = TimeLimits()

    async def call_model(
        self,
        call: ModelCall,
        inputs: Values,
        params: Values,
        *,
        sink: Sink | None,
        options: CallOptions,
        meter: Meter,
    ) -> Values:
        self.calls.append((call.model, inputs, params, options))
        meter.add(0.5, 1.0)
        return await self._answer(inputs, sink)

    async def call_workflow(
        self, call: WorkflowCall, inputs: Values, *, options: CallOptions, meter: Meter
    ) -> Values:
        self.calls.append((call.workflow, inputs, {}, options))
        meter.count("inner", {"completion": 2})
        return await self._answer(inputs, None)

    async def _answer(self, inputs: Values, sink: Sink | None) -> Values:
        answer = self._answers.pop(0) if len(self._answers) > 1 else self._answers[0]
        if isinstance(answer, TorchLoomError):
            raise answer
        if isinstance(answer, Mapping):
            return answer
        return await answer(inputs, sink)


class _Bench:
    """Runs nodes with one cache, clock and watcher."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.cache = ResultCache(now=clock)
        self.watcher = NotingWatcher()
        self.options = CallOptions(deadline=clock() + 100, priority=2, tenant="me")
        self.meter = Meter()
        self.fed_at: float | None = None

    async def run(
        self,
        node: Node,
        caller: _Caller,
        scope: Mapping[str, object] | None = None,
        *,
        is_streamed: bool = False,
        options: CallOptions | None = None,
        outlet: Feed | None = None,
        source: Feed | None = None,
    ) -> Values:
        node_run = NodeRun(
            node,
            caller=caller,
            watcher=self.watcher,
            cache=self.cache,
            options=options or self.options,
            now=self.clock,
            is_streamed=is_streamed,
            outlet=outlet,
        )
        self.meter = node_run.meter
        outputs = await node_run.execute({"inputs": {}, **(scope or {})}, source)
        self.fed_at = node_run.fed_at
        return outputs


@pytest.fixture
def bench(clock: ManualClock) -> _Bench:
    """Give a bench."""
    return _Bench(clock)


async def _upper(inputs: Values, sink: Sink | None) -> Values:
    text = str(inputs["text"])
    if sink is not None:
        for letter in text:
            sink({"text": letter})
    return {"text": text.upper()}


async def _never(_: Values, __: Sink | None) -> Values:
    await asyncio.get_running_loop().create_future()
    raise AssertionError


# Calls


async def test_calls_with_what_its_bindings_give(bench: _Bench) -> None:
    """Inputs and params are worked out from the scope; the run's options go along."""
    caller = _Caller(_upper)
    node = replace(model_node("n", text="$a.text"), params=bind(seed="$inputs.seed", top=3))
    scope = {"a": {"text": "x"}, "inputs": {"seed": 7}}
    assert await bench.run(node, caller, scope) == {"text": "X"}
    assert caller.calls == [("echo", {"text": "x"}, {"seed": 7, "top": 3}, bench.options)]
    assert (bench.meter.num_tasks, bench.meter.run_s) == (1, 1.0)
    assert bench.watcher.told == []


async def test_overrides_priority_and_deadline_where_it_has_its_own(bench: _Bench) -> None:
    """A node's priority and timeout go before the run's, but never beyond the run's deadline."""
    caller = _Caller({})
    now = bench.clock()
    node = replace(model_node("n"), priority=9, timeout_s=5.0)
    await bench.run(node, caller)
    assert caller.calls[-1][3] == CallOptions(deadline=now + 5, priority=9, tenant="me")
    await bench.run(replace(node, timeout_s=500.0), caller)
    assert caller.calls[-1][3].deadline == now + 100
    await bench.run(node, caller, options=CallOptions())
    assert caller.calls[-1][3] == CallOptions(deadline=now + 5, priority=9)


async def test_keeps_a_copy_behind_everything_else(bench: _Bench) -> None:
    """Nobody waits for it, whatever priority its node has."""
    caller = _Caller({})
    options = CallOptions(priority=COPY_PRIORITY, is_copy=True)
    await bench.run(replace(model_node("n"), priority=9), caller, options=options)

    assert caller.calls[-1][3] == options


async def test_works_templates_out_by_itself(bench: _Bench) -> None:
    """A template needs no worker: its value, and a string as text too; inputs are in its scope."""
    text = Node(
        name="n",
        call=TemplateCall(Computed(lambda s: f"{s['a']['text']}!{s['b']}")),  # type: ignore[index]  # as below
        inputs=bind(b=2),
    )
    assert await bench.run(text, _Caller(), {"a": {"text": "x"}}) == {"text": "x!2", "value": "x!2"}
    value = Node(name="n", call=TemplateCall(Constant([1, 2])))
    assert await bench.run(value, _Caller()) == {"value": [1, 2]}


async def test_repeats_a_workflow_until_its_condition_holds(bench: _Bench) -> None:
    """Each round runs on the last one's outputs, laid over its inputs; the rounds are bounded."""

    async def count(inputs: Values, _: Sink | None) -> Values:
        return {"number": int(str(inputs["number"])) + 1, "other": "x"}

    call = WorkflowCall("inner", repeat_until=Computed(_is_three), max_repeats=10)
    node = Node(name="n", call=call, inputs=bind(number=0, fixed="f"))
    caller = _Caller(count)
    assert await bench.run(node, caller) == {"number": 3, "other": "x"}
    assert [c[1] for c in caller.calls] == [{"number": n, "fixed": "f"} for n in range(3)]
    assert bench.meter.usage == {"inner": {"completion": 6}}
    bounded = replace(node, call=replace(call, max_repeats=2))
    assert (await bench.run(bounded, _Caller(count)))["number"] == 2
    once = replace(node, call=WorkflowCall("inner"))
    assert (await bench.run(once, _Caller(count)))["number"] == 1


def _is_three(scope: Mapping[str, object]) -> bool:
    outputs = scope["outputs"]
    assert isinstance(outputs, Mapping)
    return outputs["number"] == 3


# When and skip


async def test_is_skipped_when_its_condition_is_false(bench: _Bench) -> None:
    """No work is done, and inputs are not even worked out."""
    caller = _Caller(_upper)
    node = replace(model_node("n", text="$gone.text"), when=to_binding("$inputs.flag"))
    with pytest.raises(Skipped):
        await bench.run(node, caller, {"inputs": {"flag": ""}})
    assert caller.calls == []
    scope = {"inputs": {"flag": 1}, "gone": {"text": "x"}}
    assert await bench.run(node, caller, scope) == {"text": "X"}


@pytest.mark.parametrize(
    "node",
    [
        model_node("n", text="$gone.text"),
        replace(model_node("n"), params=bind(seed="$gone.text")),
        replace(model_node("n"), when=to_binding("$gone.text")),
        replace(model_node("n"), foreach=to_binding("$gone.items")),
        replace(model_node("n"), foreach=Constant([1]), limit=to_binding("$gone.number")),
        replace(model_node("n", text="$gone.text"), foreach=Constant([1, 2])),
        replace(model_node("n", text="$gone.text"), fallback=Fallback(value={"text": "x"})),
        Node(name="n", call=TemplateCall(to_binding("$gone.text"))),
        replace(model_node("n", text="$gone.text"), retry=RetryPolicy(attempts=5)),
    ],
    ids=["input", "param", "when", "foreach", "limit", "item", "fallback", "template", "retry"],
)
async def test_is_skipped_with_what_it_reads(bench: _Bench, node: Node) -> None:
    """Whatever reads a skipped node without a default is skipped: neither failed nor retried."""
    with pytest.raises(Skipped):
        await bench.run(node, _Caller(_upper))
    assert bench.watcher.told == []


async def test_is_not_skipped_where_there_is_a_default(bench: _Bench) -> None:
    """A binding that can do without the skipped node goes on."""
    node = model_node("n", text=Computed(lambda scope: "x" if "gone" not in scope else "y"))
    assert await bench.run(node, _Caller(_upper)) == {"text": "X"}


# Retry, timeout, fallback


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (TaskFailed("x"), "failed"),
        (HandlerFailed("x"), "failed"),
        (BatchContractError("x"), "failed"),
        (ModelLoadError("x"), "failed"),
        (WorkerDied("x"), "worker_died"),
        (DeadlineExceeded("x"), "timeout"),
        (QueueFull("x"), "queue_full"),
        (NotServing("x"), "queue_full"),
        (
            NodeFailed("inner", ItemFailed(3, NodeFailed("innermost", WorkerDied("x")))),
            "worker_died",
        ),
    ],
    ids=lambda value: value if isinstance(value, str) else type(value).__name__,
)
async def test_tries_again_for_the_causes_that_are_named(
    bench: _Bench, error: TorchLoomError, cause: str
) -> None:
    """An error is retried for its cause, if the policy lists that, also within a sub-workflow."""
    retry = RetryPolicy(attempts=3, on=(cause,))  # type: ignore[arg-type]  # one of the literals
    node = replace(model_node("n", text="x"), retry=retry)
    assert await bench.run(node, _Caller(error, error, _upper)) == {"text": "X"}
    name = type(error).__name__
    assert bench.watcher.told == [("retry", 2, name), ("retry", 3, name)]
    others = tuple({"failed", "worker_died", "timeout", "queue_full"} - {cause})
    node = replace(node, retry=RetryPolicy(attempts=3, on=others))  # type: ignore[arg-type]  # the same
    with pytest.raises(type(error)):
        await bench.run(node, _Caller(error, _upper))


@pytest.mark.parametrize("error", [InvalidInput("x"), UnknownModel("x"), Cancelled("x")])
async def test_never_tries_again_what_cannot_get_better(
    bench: _Bench, error: TorchLoomError
) -> None:
    """A caller's fault stays one however often it is tried."""
    node = replace(model_node("n", text="x"), retry=RetryPolicy(attempts=3))
    with pytest.raises(type(error)):
        await bench.run(node, _Caller(error, _upper))


async def test_gives_up_after_its_attempts(bench: _Bench) -> None:
    """Attempts count in all, the first included."""
    node = replace(model_node("n"), retry=RetryPolicy(attempts=2))
    caller = _Caller(TaskFailed("one"), TaskFailed("two"), {})
    with pytest.raises(TaskFailed, match="two"):
        await bench.run(node, caller)
    assert len(caller.calls) == 2


async def test_waits_twice_as_long_before_each_further_attempt(
    bench: _Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The backoff doubles."""
    waits: list[float] = []
    sleep = asyncio.sleep

    async def note(seconds: float) -> None:
        waits.append(seconds)
        await sleep(0)

    monkeypatch.setattr(asyncio, "sleep", note)
    node = replace(model_node("n"), retry=RetryPolicy(attempts=4, backoff_s=0.5))
    with pytest.raises(TaskFailed):
        await bench.run(node, _Caller(TaskFailed("x")))
    assert waits == [0.5, 1.0, 2.0]


async def test_gives_each_attempt_its_timeout(bench: _Bench) -> None:
    """An attempt that takes too long is cancelled, and the next has all the time again."""
    node = replace(
        model_node("n", text="x"), timeout_s=0.001, retry=RetryPolicy(attempts=2, on=("timeout",))
    )
    assert await bench.run(node, _Caller(_never, _upper)) == {"text": "X"}
    with pytest.raises(DeadlineExceeded, match=r"within its timeout of 0\.001 s"):
        await bench.run(node, _Caller(_never))


async def test_does_not_start_again_what_has_been_shown(bench: _Bench) -> None:
    """After the first chunk of a stream an attempt is final; unseen, it may be repeated."""

    async def break_off(_: Values, sink: Sink | None) -> Values:
        if sink is not None:
            sink({"text": "half"})
        raise WorkerDied("gone")

    node = replace(model_node("n", text="x"), retry=RetryPolicy(attempts=2))
    with pytest.raises(WorkerDied):
        await bench.run(node, _Caller(break_off, _upper), is_streamed=True)
    assert bench.watcher.told == [("chunk", None, {"text": "half"})]
    assert await bench.run(node, _Caller(break_off, _upper)) == {"text": "X"}


async def test_takes_a_value_in_place_of_an_answer(bench: _Bench) -> None:
    """A fallback value stands in after the last attempt."""
    node = replace(
        model_node("n"),
        retry=RetryPolicy(attempts=2),
        fallback=Fallback(value={"text": "sorry"}),
    )
    caller = _Caller(TaskFailed("x"))
    assert await bench.run(node, caller) == {"text": "sorry"}
    assert len(caller.calls) == 2
    assert await bench.run(replace(node, fallback=Fallback()), caller) == {}


async def test_takes_another_models_answer(bench: _Bench) -> None:
    """A fallback model is called with the same inputs and params; if it fails too, that counts."""
    node = replace(
        model_node("n", text="x"),
        params=bind(seed=1),
        timeout_s=7.0,
        fallback=Fallback(model=ModelCall("spare")),
    )
    caller = _Caller(QueueFull("x"), _upper)
    assert await bench.run(node, caller) == {"text": "X"}
    (first, *same), (second, *other) = caller.calls
    assert (first, second) == ("echo", "spare")
    assert same == other
    with pytest.raises(QueueFull):
        await bench.run(node, _Caller(TaskFailed("x"), QueueFull("y")))


# Cache


async def test_reuses_the_answer_to_identical_inputs(bench: _Bench) -> None:
    """The same call is executed once while its result is kept; other inputs are another call."""
    node = replace(model_node("n", text="$inputs.text"), cache=CachePolicy(ttl_s=10))
    caller = _Caller(_upper)
    for text in ("x", "x", "y"):
        assert await bench.run(node, caller, {"inputs": {"text": text}}) == {"text": text.upper()}
    bench.clock.advance(10.0)
    await bench.run(node, caller, {"inputs": {"text": "x"}})
    told = [("cache", outcome) for outcome in ("miss", "hit", "miss", "miss")]
    assert bench.watcher.told == told
    assert len(caller.calls) == 3


async def test_replays_a_kept_stream_as_a_stream(bench: _Bench) -> None:
    """A hit gives the same chunks as the first time."""
    node = replace(model_node("n", text="ab"), cache=CachePolicy())
    caller = _Caller(_upper)
    await bench.run(node, caller, is_streamed=True)
    first = list(bench.watcher.told)
    bench.watcher.told.clear()
    await bench.run(node, caller, is_streamed=True)
    chunks = [("chunk", None, {"text": "a"}), ("chunk", None, {"text": "b"})]
    assert first == [*chunks, ("cache", "miss")]
    assert bench.watcher.told == [*chunks, ("cache", "hit")]


async def test_does_not_impose_one_callers_deadline_on_another(bench: _Bench) -> None:
    """Who comes first has an early deadline: the shared call goes on for those who can wait."""
    done = asyncio.Event()

    async def wait(inputs: Values, sink: Sink | None) -> Values:
        await done.wait()
        return await _upper(inputs, sink)

    node = replace(model_node("n", text="x"), cache=CachePolicy())
    caller = _Caller(wait)
    hasty = asyncio.ensure_future(bench.run(replace(node, timeout_s=0.001), caller))
    patient = asyncio.ensure_future(bench.run(node, caller))
    with pytest.raises(DeadlineExceeded):
        await hasty
    done.set()
    assert await patient == {"text": "X"}
    ((*_, options),) = caller.calls
    assert options == msgspec.structs.replace(bench.options, deadline=None)


async def test_does_not_cache_templates(bench: _Bench) -> None:
    """A template reads more than its inputs: what it gave for one run is wrong for the next."""
    node = Node(name="n", call=TemplateCall(to_binding("$a.text")), cache=CachePolicy())
    assert (await bench.run(node, _Caller(), {"a": {"text": "x"}}))["text"] == "x"
    assert (await bench.run(node, _Caller(), {"a": {"text": "y"}}))["text"] == "y"


async def test_cancels_a_shared_call_with_its_last_caller(bench: _Bench) -> None:
    """Two runs wait for one call: it ends when both have left, and not before."""
    cancelled: list[bool] = []

    async def wait(inputs: Values, sink: Sink | None) -> Values:
        try:
            return await _never(inputs, sink)
        except asyncio.CancelledError:
            cancelled.append(True)
            raise

    node = replace(model_node("n", text="x"), cache=CachePolicy())
    caller = _Caller(wait)
    runs = [asyncio.ensure_future(bench.run(node, caller)) for _ in range(2)]
    await until(lambda: len(caller.calls) == 1)
    runs[0].cancel()
    await settle()
    assert cancelled == []
    runs[1].cancel()
    await settle()
    assert cancelled == [True]


# Foreach


def _each(*items: object, **inputs: object) -> Node:
    return replace(model_node("n", **inputs), foreach=Constant(list(items)), outputs=("text",))


async def test_runs_one_task_an_item_and_gathers_in_order(bench: _Bench) -> None:
    """All items are called at once; answers come back in item order, whoever is first."""
    answers: dict[str, asyncio.Future[Values]] = {}

    async def wait(inputs: Values, _: Sink | None) -> Values:
        text = f"{inputs['text']}{inputs['index']}"
        answers[text] = asyncio.get_running_loop().create_future()
        return await answers[text]

    caller = _Caller(wait)
    node = _each("a", "b", "c", text="$item", index="$index")
    run = asyncio.ensure_future(bench.run(node, caller))
    await until(lambda: len(answers) == 3)
    answers["c2"].set_result({"text": "C"})
    answers["b1"].set_result({"text": "B", "extra": 1})
    answers["a0"].set_result({"text": "A"})
    assert await run == {"text": ["A", "B", "C"], "extra": [None, 1, None]}
    assert [options.waits_for_space for *_, options in caller.calls] == [True] * 3
    assert bench.meter.num_tasks == 3


async def test_takes_the_first_items_up_to_its_limit(bench: _Bench) -> None:
    """`limit` cuts the list; 0 is a limit too, and no limit is none."""
    node = _each("a", "b", "c", text="$item")
    every = ["A", "B", "C"]
    for limit, expected in ((2, every[:2]), (0, []), (9, every), (None, every)):
        limited = replace(node, limit=Constant(limit))
        assert await bench.run(limited, _Caller(_upper)) == {"text": expected}


async def test_gives_empty_lists_for_no_items(bench: _Bench) -> None:
    """Zero items are no failure: each output that the node is known to give is empty."""
    assert await bench.run(_each(text="$item"), _Caller()) == {"text": []}


async def test_fails_with_the_first_item_that_fails(bench: _Bench) -> None:
    """Its siblings are cancelled, and the error is the item's own, with its index."""

    async def fail_b(inputs: Values, sink: Sink | None) -> Values:
        if inputs["text"] == "b":
            raise TaskFailed("not b")
        return await _never(inputs, sink)

    with pytest.raises(ItemFailed, match=r"^Item 1: not b$") as failure:
        await bench.run(_each("a", "b", "c", text="$item"), _Caller(fail_b))
    assert (failure.value.status, failure.value.type) == (500, TaskFailed("x").type)


async def test_falls_back_and_tries_again_item_by_item(bench: _Bench) -> None:
    """Retry and fallback belong to the item that failed; the others keep their answers."""
    failures = {"b": 2, "c": 1}

    async def fail_some(inputs: Values, sink: Sink | None) -> Values:
        text = str(inputs["text"])
        if failures.get(text, 0):
            failures[text] -= 1
            raise TaskFailed(text)
        return await _upper(inputs, sink)

    node = replace(
        _each("a", "b", "c", text="$item"),
        retry=RetryPolicy(attempts=2),
        fallback=Fallback(value={"text": "?"}),
    )
    assert await bench.run(node, _Caller(fail_some)) == {"text": ["A", "?", "C"]}


@pytest.mark.parametrize("items", ["abc", b"abc", 5, {"a": 1}, None])
async def test_refuses_to_go_through_what_is_no_list(bench: _Bench, items: object) -> None:
    """Text is no list of letters, and a mapping is no list."""
    node = replace(model_node("n"), foreach=Constant(items))
    with pytest.raises(InvalidInput, match=f"needs a list and was given a {type(items).__name__}"):
        await bench.run(node, _Caller({}))


@pytest.mark.parametrize("limit", [-1, 2.5, "3"])
async def test_refuses_a_limit_that_is_none(bench: _Bench, limit: object) -> None:
    """A limit is a whole number from 0 up."""
    with pytest.raises(InvalidInput, match="`limit` needs a whole number"):
        await bench.run(replace(_each("a"), limit=Constant(limit)), _Caller({}))


async def test_bounds_the_number_of_items(bench: _Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    """A list without bound is refused before the first call."""
    monkeypatch.setattr(fan_out_module, "MAX_ITEMS", 2)
    caller = _Caller(_upper)
    with pytest.raises(InvalidInput, match="3 items; the most is 2"):
        await bench.run(_each("a", "b", "c", text="$item"), caller)
    assert caller.calls == []


# Streams


async def test_streams_chunks_with_the_index_of_their_item(bench: _Bench) -> None:
    """Chunks of a foreach say which item they belong to, and each item that is done is told.

    Unstreamed nodes tell nothing.
    """
    await bench.run(_each("ab", "c", text="$item"), _Caller(_upper), is_streamed=True)
    assert bench.watcher.told == [
        ("chunk", 0, {"text": "a"}),
        ("chunk", 0, {"text": "b"}),
        ("outputs", 0, {"text": "AB"}),
        ("chunk", 1, {"text": "c"}),
        ("outputs", 1, {"text": "C"}),
    ]
    bench.watcher.told.clear()
    await bench.run(model_node("n", text="ab"), _Caller(_upper))
    assert bench.watcher.told == []


async def test_cuts_items_out_of_text_as_it_comes(bench: _Bench) -> None:
    """Each item is told when it is complete; all of them are the output `items`."""

    async def say(_: Values, sink: Sink | None) -> Values:
        assert sink is not None
        for piece in ("red cir", "cle\nblue", " square"):
            sink({"text": piece})
        sink({"image": b"x"})
        return {"text": "red circle\nblue square"}

    node = replace(model_node("n"), items=Items("lines"))
    outputs = await bench.run(node, _Caller(say), is_streamed=True)
    assert outputs["items"] == ["red circle", "blue square"]
    assert [told for told in bench.watcher.told if told[0] == "item"] == [
        ("item", None, 0, "red circle"),
        ("item", None, 1, "blue square"),
    ]
    assert bench.watcher.told.index(("item", None, 0, "red circle")) == 2


async def test_cuts_items_out_of_an_answer_that_is_not_streamed(bench: _Bench) -> None:
    """`items` are there without a stream too; an answer without text has none."""
    node = replace(model_node("n"), items=Items("json"))
    assert await bench.run(node, _Caller({"text": "[1, 2]"})) == {"text": "[1, 2]", "items": [1, 2]}
    assert await bench.run(node, _Caller({"image": b"x"})) == {"image": b"x"}


async def test_falls_back_where_its_text_cannot_be_cut(bench: _Bench) -> None:
    """A text without sound items is a failure of the node, as any other."""
    node = replace(model_node("n"), items=Items("json"), fallback=Fallback(value={"text": "[1]"}))
    deep: Values = {"text": "[" * 100_000}
    assert (await bench.run(node, _Caller(deep)))["items"] == [1]
    assert (await bench.run(node, _Caller(deep), is_streamed=True))["items"] == [1]
    with pytest.raises(TaskFailed, match="nested too deep"):
        await bench.run(replace(node, fallback=None), _Caller(deep))


async def test_streams_the_fallback_in_place_of_what_broke_off(bench: _Bench) -> None:
    """Whoever watches hears that what was told holds no more, and then another model's chunks."""

    async def break_off(_: Values, sink: Sink | None) -> Values:
        assert sink is not None
        sink({"text": "ha"})
        raise WorkerDied("gone")

    spare = Fallback(model=ModelCall("spare"))
    node = replace(model_node("n", text="x"), fallback=spare)
    assert await bench.run(node, _Caller(break_off, _upper), is_streamed=True) == {"text": "X"}
    assert bench.watcher.told == [
        ("chunk", None, {"text": "ha"}),
        ("start over", None, "gone"),
        ("chunk", None, {"text": "x"}),
    ]


async def test_gives_its_items_on_while_it_writes(bench: _Bench) -> None:
    """To live readers, through its outlet; and takes those of its source."""

    async def say(_: Values, sink: Sink | None) -> Values:
        assert sink is not None
        sink({"text": "a\nb"})
        assert feed.items == ["a"]
        return {"text": "a\nb"}

    feed = Feed(bench.clock)
    writer = replace(model_node("n"), items=Items("lines"))
    outputs = await bench.run(writer, _Caller(say), outlet=feed)
    assert outputs["items"] == feed.items == ["a", "b"]
    feed.end(outputs)
    reader = replace(model_node("m", text="$item"), foreach=to_binding("$n.items"), live="n")
    assert await bench.run(reader, _Caller(_upper), source=feed) == {"text": ["A", "B"]}
    assert bench.fed_at == bench.clock()
