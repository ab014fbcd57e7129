"""Live edges: a foreach that takes the items of a node while that node still writes them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.engines import deploy
from loom_fakes.graphs import bind, make_graph, model_node, to_binding
from loom_fakes.run_bench import OpenCall, RunBench, read_events
from loom_fakes.scripted import ScriptedExecutor, ScriptedLink, settle

from torchloom import fan_out as fan_out_module
from torchloom.errors import Cancelled, InvalidInput, NodeFailed, TaskFailed, WorkerDied
from torchloom.graph import Fallback, Graph, Items, ModelCall, Node, WorkflowCall
from torchloom.orchestrator import Orchestrator
from torchloom.policy import CachePolicy, RetryPolicy
from torchloom.run import Run


def _writer(**changes: object) -> Node:
    node = model_node("prompts", "writer", idea="$inputs.idea")
    return replace(node, items=Items("lines"), **changes)  # type: ignore[arg-type]  # tests give any


def _reader(name: str = "pictures", **changes: object) -> Node:
    node = replace(
        model_node(name, name, prompt="$item", number="$index"),
        foreach=to_binding("$prompts.items"),
        live="prompts",
        outputs=("image",),
    )
    return replace(node, **changes)  # type: ignore[arg-type]  # tests give any


def _graph(*nodes: Node, streams: bool = False, **outputs: object) -> Graph:
    """Make a graph of a writer and its readers; without `outputs` it gives items and images."""
    given = {"prompts": "$prompts.items", "images": "$pictures.image"}
    stream = ("prompts", "pictures") if streams else ()
    return make_graph(*nodes, outputs=outputs or given, stream=stream)


GRAPH = _graph(_writer(), _reader())
STREAMED = _graph(_writer(), _reader(), streams=True)


class _Scene(RunBench):
    """A run whose writer and painters the test plays."""

    async def begin(self, graph: Graph, *, is_streamed: bool = False) -> Run:
        """Start a run and wait until its writer is asked."""
        run = self.start(graph, {"idea": "x", "limit": 2}, is_streamed=is_streamed)
        await self.caller.take("writer")
        return run

    async def write(self, text: str) -> None:
        """Let the writer write."""
        call = await self.caller.take("writer")
        assert call.sink is not None
        call.sink({"text": text})
        await settle()

    async def end(self, text: str) -> None:
        """Let the writer come to its end, with all of its text."""
        await self.caller.answer("writer", text=text)
        await settle()

    def painting(self, model: str = "pictures") -> list[object]:
        """Give the prompts that are being painted."""
        return [call.inputs["prompt"] for call in self.caller.open(model)]

    def painter(self, prompt: str, model: str = "pictures") -> OpenCall:
        """Give the open call for a prompt."""
        (call,) = [c for c in self.caller.open(model) if c.inputs["prompt"] == prompt]
        return call

    async def paint(self, *prompts: str, model: str = "pictures") -> None:
        """Finish pictures."""
        for prompt in prompts:
            self.painter(prompt, model).answer.set_result({"image": prompt.upper()})
            await settle()


@pytest.fixture
def scene(clock: ManualClock) -> _Scene:
    """Give a scene."""
    return _Scene(clock)


async def _told(run: Run, *kinds: str) -> list[tuple[str, Mapping[str, object]]]:
    return [(kind, data) for _, kind, data in await read_events(run) if kind in kinds]


# As it should be


async def test_starts_each_item_the_moment_it_is_complete(scene: _Scene) -> None:
    """While the writer still writes the next; what comes is gathered in the order of the items."""
    run = await scene.begin(GRAPH)
    await scene.write("a red cir")
    assert scene.painting() == []
    await scene.write("cle\na blue")
    assert scene.painting() == ["a red circle"]
    await scene.write(" square\n")
    assert scene.painting() == ["a red circle", "a blue square"]
    await scene.paint("a blue square")
    await scene.end("a red circle\na blue square\nlast")
    assert scene.painting() == ["a red circle", "last"]
    await scene.paint("last", "a red circle")
    assert await run.result() == {
        "prompts": ["a red circle", "a blue square", "last"],
        "images": ["A RED CIRCLE", "A BLUE SQUARE", "LAST"],
    }
    assert [call.inputs["number"] for call in scene.caller.calls[1:]] == [0, 1, 2]


async def test_asks_for_chunks_where_nobody_streams_the_run(scene: _Scene) -> None:
    """The reader needs them; nothing of them is told. Without a reader there are none."""
    run = await scene.begin(STREAMED)
    await scene.write("a\n")
    await scene.end("a\n")
    await scene.paint("a")
    assert await run.result() == {"prompts": ["a"], "images": ["A"]}
    assert await _told(run, "node.chunk", "node.item") == []
    await scene.begin(_graph(_writer(), prompts="$prompts.items"))
    assert (await scene.caller.take("writer")).sink is None


async def test_tells_of_items_as_they_come_and_as_they_are_done(scene: _Scene) -> None:
    """Where both nodes are streamed: the text, its items, and the outputs for each of them."""
    run = await scene.begin(STREAMED, is_streamed=True)
    await scene.write("a\nb\n")
    await scene.paint("b")
    await scene.end("a\nb\n")
    await scene.paint("a")
    await run.wait()
    told = [(kind, dict(data)) for _, kind, data in await read_events(run)][1:-1]
    seconds = {"seconds": 0.0}
    assert told == [
        ("node.started", {"node": "prompts"}),
        ("node.chunk", {"node": "prompts", "text": "a\nb\n"}),
        ("node.item", {"node": "prompts", "index": 0, "item": "a"}),
        ("node.item", {"node": "prompts", "index": 1, "item": "b"}),
        ("node.started", {"node": "pictures"}),
        ("node.item", {"node": "pictures", "index": 1, "outputs": {"image": "B"}}),
        (
            "node.finished",
            {"node": "prompts", **seconds, "outputs": {"text": "a\nb\n", "items": ["a", "b"]}},
        ),
        ("node.item", {"node": "pictures", "index": 0, "outputs": {"image": "A"}}),
        ("node.finished", {"node": "pictures", **seconds, "outputs": {"image": ["A", "B"]}}),
    ]


async def test_says_which_item_of_a_foreach_an_item_was_cut_from(scene: _Scene) -> None:
    """Items are counted for each text by itself."""
    node = replace(
        model_node("prompts", "writer", idea="$item"),
        foreach=to_binding("$inputs.ideas"),
        items=Items("lines"),
    )
    run = scene.start(make_graph(node, stream=("prompts",)), {"ideas": ["x", "y"]})
    await settle()
    for call in scene.caller.open("writer")[::-1]:
        call.answer.set_result({"text": f"{call.inputs['idea']}1\n{call.inputs['idea']}2"})
        await settle()
    await run.wait()
    items = [data for _, data in await _told(run, "node.item") if "item" in data]
    assert items == [
        {"node": "prompts", "foreach_index": task, "index": index, "item": f"{idea}{index + 1}"}
        for task, idea in ((1, "y"), (0, "x"))
        for index in (0, 1)
    ]


async def test_feeds_two_readers_of_one_stream(scene: _Scene) -> None:
    """Each goes at its own pace, and neither takes an item from the other."""
    graph = _graph(_writer(), _reader(), _reader("titles"), streams=True)
    run = await scene.begin(graph)
    await scene.write("a\nb\n")
    assert scene.painting() == scene.painting("titles") == ["a", "b"]
    await scene.paint("a", "b", model="titles")
    await scene.end("a\nb\nc")
    await scene.paint("c", model="titles")
    await scene.paint("c", "a", "b")
    assert (await run.result())["images"] == ["A", "B", "C"]
    assert set(run.timings.nodes) == {"prompts", "pictures", "titles"}


async def test_waits_for_its_other_needs(scene: _Scene) -> None:
    """Items that come meanwhile are kept; what was complete before goes at once."""
    style = model_node("style")
    node = _reader()
    graph = _graph(
        _writer(),
        style,
        replace(node, inputs={**node.inputs, "style": to_binding("$style.batch")}),
    )
    run = await scene.begin(graph)
    await scene.write("a\nb\n")
    assert scene.painting() == []
    await scene.caller.answer("echo", batch=7)
    await settle()
    assert scene.painting() == ["a", "b"]
    await scene.end("a\nb\n")
    await scene.paint("a", "b")
    assert (await run.result())["images"] == ["A", "B"]


async def test_takes_the_outputs_of_a_writer_that_has_ended_before(scene: _Scene) -> None:
    """Where its other needs come last, it is a foreach like any other."""
    graph = _graph(
        _writer(),
        model_node("style"),
        _reader(after=frozenset({"style"})),
    )
    run = await scene.begin(graph)
    await scene.write("a\n")
    await scene.end("a\nb\n")
    await scene.caller.answer("echo")
    await settle()
    assert scene.painting() == ["a", "b"]
    await scene.paint("a", "b")
    assert (await run.result())["images"] == ["A", "B"]


async def test_takes_the_values_of_a_generator(scene: _Scene) -> None:
    """Chunks of data are items; a function that is no generator gives them at its end."""
    graph = _graph(model_node("prompts", "writer"), _reader())
    run = scene.start(graph)
    call = await scene.caller.take("writer")
    assert call.sink is not None
    call.sink({"data": "a"})
    await settle()
    assert scene.painting() == ["a"]
    call.answer.set_result({"items": ["a"], "count": 1})
    await settle()
    await scene.paint("a")
    assert (await run.result())["images"] == ["A"]
    plain = scene.start(graph)
    await scene.caller.answer("writer", items=["b"])
    await settle()
    await scene.paint("b")
    assert (await plain.result())["images"] == ["B"]


async def test_runs_a_workflow_for_each_item(scene: _Scene) -> None:
    """A reader may call a workflow: each of its runs starts when its item is there."""
    run = await scene.begin(_graph(_writer(), _reader(call=WorkflowCall("inner"))))
    await scene.write("a\n")
    assert scene.painting("inner") == ["a"]
    await scene.paint("a", model="inner")
    await scene.end("a\n")
    assert (await run.result())["images"] == ["A"]


# Limits


async def test_cuts_what_is_past_its_limit_without_waiting_for_the_end(scene: _Scene) -> None:
    """Its readers go on while the writer still writes; the run ends with the writer."""
    page = model_node("page", "page", pictures="$pictures.image")
    limited = _reader(limit=to_binding("$inputs.limit"))
    run = await scene.begin(_graph(_writer(), limited, page, page="$page.text"))
    await scene.write("a\nb\nc\n")
    assert scene.painting() == ["a", "b"]
    await scene.paint("a", "b")
    call = await scene.caller.take("page")
    assert call.inputs == {"pictures": ["A", "B"]}
    call.answer.set_result({"text": "done"})
    await settle()
    assert not run.is_over
    await scene.end("a\nb\nc\n")
    assert await run.result() == {"page": "done"}


async def test_gives_empty_lists_where_no_items_are_written(scene: _Scene) -> None:
    """Also where the writer gives no text at all, if it has a list of items."""
    run = await scene.begin(GRAPH)
    await scene.write("\n \n")
    await scene.end("\n \n")
    assert await run.result() == {"prompts": [], "images": []}


async def test_fails_where_the_writer_has_no_items(scene: _Scene) -> None:
    """What is no list cannot be gone through, as in any foreach."""
    graph = _graph(model_node("prompts", "writer"), _reader())
    run = scene.start(graph)
    await scene.caller.answer("writer", items="text")
    with pytest.raises(NodeFailed, match="Node 'pictures': `foreach` needs a list") as failure:
        await run.result()
    assert isinstance(failure.value.cause, InvalidInput)


async def test_fails_on_too_many_items_and_cancels_what_runs(
    scene: _Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One item too many ends the run, writer included, though somebody streams it."""
    monkeypatch.setattr(fan_out_module, "MAX_ITEMS", 2)
    run = await scene.begin(STREAMED, is_streamed=True)
    await scene.write("a\nb\n")
    calls = list(scene.caller.calls)
    await scene.write("c\n")
    with pytest.raises(NodeFailed, match="Node 'pictures': `foreach` was given 3 items"):
        await run.result()
    assert len(calls) == 3
    assert all(call.answer.cancelled() for call in calls)


# An item that fails


async def test_fails_with_an_item_and_cancels_the_others(scene: _Scene) -> None:
    """Where nobody streams the run there is nothing to wait for. The error names the item."""
    run = await scene.begin(STREAMED)
    await scene.write("a\nb\nc\n")
    others = [scene.painter("a"), scene.painter("c"), await scene.caller.take("writer")]
    scene.painter("b").answer.set_exception(TaskFailed("no blue"))
    with pytest.raises(NodeFailed, match=r"^Node 'pictures': Item 1: no blue$"):
        await run.result()
    assert all(call.answer.cancelled() for call in others)


async def test_finishes_and_tells_what_has_begun_before_it_fails(scene: _Scene) -> None:
    """Where somebody streams the run nothing that was seen coming is lost; nothing new begins."""
    run = await scene.begin(STREAMED, is_streamed=True)
    await scene.write("a\nb\n")
    scene.painter("a").answer.set_exception(TaskFailed("no red"))
    await settle()
    await scene.write("c\n")
    assert scene.painting() == ["b"]
    assert not run.is_over
    await scene.paint("b")
    with pytest.raises(NodeFailed, match=r"^Node 'pictures': Item 0: no red$"):
        await run.result()
    outputs = [data for _, data in await _told(run, "node.item") if "outputs" in data]
    assert outputs == [{"node": "pictures", "index": 1, "outputs": {"image": "B"}}]
    assert scene.caller.calls[0].answer.cancelled()


async def test_does_not_lose_the_others_where_there_is_a_fallback(scene: _Scene) -> None:
    """The fallback's outputs stand in the item's place, and are told as such."""
    spare = Fallback(value={"image": "grey"})
    run = await scene.begin(
        _graph(_writer(), _reader(fallback=spare), streams=True), is_streamed=True
    )
    await scene.write("a\nb\n")
    scene.painter("a").answer.set_exception(TaskFailed("no red"))
    await settle()
    await scene.end("a\nb\nc")
    await scene.paint("b", "c")
    assert (await run.result())["images"] == ["grey", "B", "C"]
    outputs = [data["outputs"] for _, data in await _told(run, "node.item") if "outputs" in data]
    assert outputs == [{"image": "grey"}, {"image": "B"}, {"image": "C"}]


# A writer that fails


async def test_fails_with_a_writer_that_dies_in_the_middle(scene: _Scene) -> None:
    """Items that have begun are cancelled, streamed or not, and the error names the writer."""
    for is_streamed in (False, True):
        run = await scene.begin(STREAMED, is_streamed=is_streamed)
        await scene.write("a\nb")
        painter = scene.painter("a")
        await scene.caller.fail("writer", WorkerDied("The process ended."))
        with pytest.raises(NodeFailed, match=r"^Node 'prompts': The process ended") as failure:
            await run.result()
        assert failure.value.status == 503
        assert painter.answer.cancelled()


async def test_tries_a_writer_again_that_has_given_no_item(scene: _Scene) -> None:
    """Half an item has been seen by nobody; what was written of it is forgotten."""
    run = await scene.begin(_graph(_writer(retry=RetryPolicy(attempts=2)), _reader()))
    await scene.write("half a li")
    await scene.caller.fail("writer", WorkerDied("gone"))
    await scene.write("a\n")
    await scene.end("a\n")
    await scene.paint("a")
    assert (await run.result())["images"] == ["A"]


async def test_does_not_try_a_writer_again_whose_items_are_taken(scene: _Scene) -> None:
    """A second attempt could contradict the first."""
    run = await scene.begin(_graph(_writer(retry=RetryPolicy(attempts=2)), _reader()))
    await scene.write("a\n")
    await scene.caller.fail("writer", WorkerDied("gone"))
    with pytest.raises(NodeFailed, match="Node 'prompts': gone"):
        await run.result()
    assert [call.model for call in scene.caller.calls] == ["writer", "pictures"]


async def test_starts_over_on_the_items_of_a_fallback_value(scene: _Scene) -> None:
    """What was begun on the items before is cancelled, and whoever watches is told."""
    spare = Fallback(value={"text": "x\ny"})
    run = await scene.begin(
        _graph(_writer(fallback=spare), _reader(), streams=True), is_streamed=True
    )
    await scene.write("a\nb\n")
    await scene.paint("a")
    painter = scene.painter("b")
    await scene.caller.fail("writer", WorkerDied("gone"))
    await settle()
    assert painter.answer.cancelled()
    assert scene.painting() == ["x", "y"]
    await scene.paint("x", "y")
    assert await run.result() == {"prompts": ["x", "y"], "images": ["X", "Y"]}
    told = await _told(run, "node.restarted", "node.item")
    restarted = [data for kind, data in told if kind == "node.restarted"]
    assert [data["node"] for data in restarted] == ["prompts", "pictures"]
    error = restarted[0]["error"]
    assert isinstance(error, dict)
    assert error["detail"] == "gone"
    assert [data["item"] for _, data in told if "item" in data] == ["a", "b", "x", "y"]


async def test_starts_over_on_the_items_of_a_fallback_model(scene: _Scene) -> None:
    """The other model's items are taken while it writes them, too."""
    spare = Fallback(model=ModelCall("spare"))
    run = await scene.begin(_graph(_writer(fallback=spare), _reader()))
    await scene.write("a\n")
    await scene.caller.fail("writer", WorkerDied("gone"))
    call = await scene.caller.take("spare")
    assert call.sink is not None
    call.sink({"text": "x\n"})
    await settle()
    assert scene.painting() == ["x"]
    call.answer.set_result({"text": "x\n"})
    await settle()
    await scene.paint("x")
    assert (await run.result())["images"] == ["X"]


async def test_does_not_end_by_its_limit_what_might_start_over(scene: _Scene) -> None:
    """With a fallback before it, it waits for the end: its items may still be replaced."""
    writer = _writer(fallback=Fallback(value={"text": "x\ny\nz"}))
    run = await scene.begin(_graph(writer, _reader(limit=to_binding("$inputs.limit"))))
    await scene.write("a\nb\nc\n")
    await scene.paint("a", "b")
    assert "in flight: ['pictures', 'prompts']" in repr(run)
    await scene.caller.fail("writer", WorkerDied("gone"))
    await settle()
    await scene.paint("x", "y")
    assert (await run.result())["images"] == ["X", "Y"]


async def test_stays_failed_though_other_items_come(scene: _Scene) -> None:
    """An item that failed for good has failed its node before the fallback came."""
    spare = Fallback(value={"text": "x"})
    run = await scene.begin(
        _graph(_writer(fallback=spare), _reader(), streams=True), is_streamed=True
    )
    await scene.write("a\nb\n")
    scene.painter("a").answer.set_exception(TaskFailed("no red"))
    await settle()
    await scene.caller.fail("writer", WorkerDied("gone"))
    await settle()
    assert scene.painting() == ["b"]
    await scene.paint("b")
    with pytest.raises(NodeFailed, match="Item 0: no red"):
        await run.result()


async def test_takes_a_fallback_where_nothing_was_given_before(scene: _Scene) -> None:
    """There is nothing to start over, and nothing is told of it."""
    spare = Fallback(value={"text": "x"})
    run = await scene.begin(
        _graph(_writer(fallback=spare), _reader(), streams=True), is_streamed=True
    )
    await scene.caller.fail("writer", WorkerDied("gone"))
    await settle()
    await scene.paint("x")
    assert (await run.result())["images"] == ["X"]
    assert await _told(run, "node.restarted") == []


async def test_is_skipped_with_its_writer(scene: _Scene) -> None:
    """As any node that reads one that is skipped; a reader may be skipped by itself, too."""
    run = scene.start(_graph(_writer(when=to_binding("$inputs.flag")), _reader()), {"flag": False})
    assert await run.result() == {"prompts": None, "images": None}
    skipped = [data["node"] for _, data in await _told(run, "node.skipped")]
    assert skipped == ["prompts", "pictures"]
    own = _graph(_writer(), _reader(when=to_binding("$inputs.flag")))
    run = scene.start(own, {"flag": False, "idea": "x"})
    await scene.write("a\n")
    await scene.end("a\n")
    assert await run.result() == {"prompts": ["a"], "images": None}


# Leaving


async def test_cancels_writer_and_items_with_the_run(scene: _Scene) -> None:
    """A client that leaves in the middle leaves nothing running."""
    run = await scene.begin(STREAMED, is_streamed=True)
    await scene.write("a\nb\n")
    await scene.paint("a")
    calls = [await scene.caller.take("writer"), scene.painter("b")]
    run.cancel()
    with pytest.raises(Cancelled):
        await run.result()
    await settle()
    assert all(call.answer.cancelled() for call in calls)


# Cache


async def test_replays_a_kept_answer_as_a_stream(scene: _Scene) -> None:
    """A hit feeds live readers as the first run did, also where that run had none."""
    writer = _writer(cache=CachePolicy())
    first = await scene.begin(_graph(writer, prompts="$prompts.items"))
    await scene.write("a\nb\n")
    await scene.end("a\nb\n")
    await first.wait()
    run = scene.start(_graph(writer, _reader(), streams=True), {"idea": "x"}, is_streamed=True)
    await settle()
    assert scene.painting() == ["a", "b"]
    await scene.paint("b", "a")
    assert await run.result() == {"prompts": ["a", "b"], "images": ["A", "B"]}
    kinds = [kind for kind, _ in await _told(run, "node.chunk", "node.item")]
    assert kinds == ["node.chunk", *["node.item"] * 4]


async def test_shares_a_stream_that_is_under_way(scene: _Scene) -> None:
    """Who joins gets the items that were written before, then those to come."""
    graph = _graph(_writer(cache=CachePolicy()), _reader())
    runs = [await scene.begin(graph)]
    await scene.write("a\n")
    runs.append(await scene.begin(graph))
    await settle()
    assert scene.painting() == ["a", "a"]
    await scene.write("b\n")
    assert scene.painting() == ["a", "a", "b", "b"]
    await scene.end("a\nb\n")
    assert [call.model for call in scene.caller.calls].count("writer") == 1
    for call in scene.caller.open("pictures"):
        call.answer.set_result({"image": call.inputs["prompt"]})
    assert [await run.result() for run in runs] == [
        {"prompts": ["a", "b"], "images": ["a", "b"]}
    ] * 2


# Timings


async def test_finds_the_critical_path_through_a_live_edge(scene: _Scene) -> None:
    """It goes by way of what the reader waited for last, whenever that has ended."""
    style = model_node("style")
    reader = _reader(after=frozenset({"style"}))
    run = await scene.begin(_graph(_writer(), style, reader))
    await scene.write("a\n")
    scene.clock.advance(3.0)
    await scene.caller.answer("echo")
    await settle()
    scene.clock.advance(1.0)
    await scene.end("a\n")
    scene.clock.advance(5.0)
    await scene.paint("a")
    await run.wait()
    timings = run.timings
    assert timings.critical_path == ("style", "pictures")
    assert (timings.nodes["pictures"].started_s, timings.nodes["pictures"].finished_s) == (3.0, 9.0)
    assert (timings.nodes["prompts"].finished_s, timings.total_s) == (4.0, 9.0)


@pytest.mark.parametrize("is_last", [True, False])
async def test_blames_the_writer_that_held_it_up(scene: _Scene, *, is_last: bool) -> None:
    """By its last item, or by its end when all items were done."""
    reader = _reader(after=frozenset({"style"}))
    run = await scene.begin(_graph(_writer(), model_node("style"), reader))
    await scene.caller.answer("echo")
    scene.clock.advance(3.0)
    await scene.write("a\n")
    if is_last:
        await scene.paint("a")
    scene.clock.advance(3.0)
    await scene.end("a\n")
    scene.clock.advance(3.0)
    if not is_last:
        await scene.paint("a")
    await run.wait()
    assert run.timings.critical_path == ("prompts", "pictures")
    assert run.timings.nodes["pictures"].finished_s == (6.0 if is_last else 9.0)


async def test_holds_no_items_once_it_is_over(scene: _Scene) -> None:
    """The history keeps runs, and not what went through them."""
    run = await scene.begin(GRAPH)
    await scene.write("a\n")
    run.cancel()
    await run.wait()
    assert run._feeds == {}
    assert not asyncio.all_tasks() - {asyncio.current_task()}


# Down to the workers


class _Studio:
    """An orchestrator whose two workers, a writer and a painter, the test plays."""

    def __init__(self, clock: ManualClock) -> None:
        self.executor = ScriptedExecutor()
        self.orchestrator = Orchestrator(executor=self.executor, now=clock)

    async def open(self) -> None:
        for name in ("writer", "pictures"):
            await self.orchestrator.add_model(deploy("open_echo", name=name))

    @property
    def writer(self) -> ScriptedLink:
        return self.executor.links[0]

    @property
    def painter(self) -> ScriptedLink:
        return self.executor.links[1]

    async def start(self, graph: Graph = GRAPH, *, num_runs: int = 1) -> list[Run]:
        inputs = {"idea": "x"}
        runs = [self.orchestrator.start_run(graph, inputs) for _ in range(num_runs)]
        await settle()
        return runs

    async def write(self, task_id: int, text: str) -> None:
        self.writer.chunk(task_id, text)
        await settle()


@pytest.fixture
async def studio(clock: ManualClock) -> AsyncIterator[_Studio]:
    """Give a studio; at the end every pool's invariant holds."""
    studio = _Studio(clock)
    await studio.open()
    yield studio
    studio.orchestrator.check()
    await studio.orchestrator.stop()
    studio.orchestrator.check()


async def test_cancels_down_to_both_workers_when_the_client_leaves(studio: _Studio) -> None:
    """The engines of writer and items alike forget their tasks at the next step."""
    (run,) = await studio.start()
    ((written,),) = studio.writer.batches
    await studio.write(written, "a\nb\n")
    painted = [task_id for batch in studio.painter.batches for task_id in batch]
    assert len(painted) == 2
    run.cancel()
    await run.wait()
    await settle()
    assert studio.writer.cancelled == [written]
    assert sorted(studio.painter.cancelled) == sorted(painted)


async def test_cancels_items_at_their_worker_when_the_writers_dies(studio: _Studio) -> None:
    """A process that ends in the middle of a stream fails the run, and names its node."""
    (run,) = await studio.start()
    ((written,),) = studio.writer.batches
    await studio.write(written, "a\nb")
    ((painted,),) = studio.painter.batches
    studio.writer.end("signal SIGKILL")
    with pytest.raises(NodeFailed, match=r"Node 'prompts': .*after it had begun to answer"):
        await run.result()
    await settle()
    assert studio.painter.cancelled == [painted]


async def test_shares_batches_between_the_items_of_runs(studio: _Studio) -> None:
    """Items of one run are drawn together with those of others."""
    runs = await studio.start(num_runs=2)
    one, other = (task_id for batch in studio.writer.batches for task_id in batch)
    await studio.write(one, "a\n")
    await studio.write(one, "b\n")
    await studio.write(other, "c\n")
    studio.painter.answer_all(image="A")
    await settle()
    assert len(studio.painter.batches[-1]) == 2
    studio.painter.answer_all(image="B")
    for task_id, text in ((one, "a\nb\n"), (other, "c\n")):
        studio.writer.answer(task_id, text=text)
    images = [(await run.result())["images"] for run in runs]
    assert images == [["A", "B"], ["B"]]


async def test_goes_live_within_a_workflow_that_another_calls(studio: _Studio) -> None:
    """Its chunks reach no client, and its readers all the same."""
    studio.orchestrator.add_workflow(replace(GRAPH, name="inner"))
    node = Node(name="n", call=WorkflowCall("inner"), inputs=bind(idea="x"))
    (run,) = await studio.start(make_graph(node, outputs={"images": "$n.images"}, stream=("n",)))
    ((written,),) = studio.writer.batches
    await studio.write(written, "a\n")
    ((painted,),) = studio.painter.batches
    studio.painter.answer(painted, image="A")
    studio.writer.answer(written, text="a\n")
    assert await run.result() == {"images": ["A"]}
    assert await _told(run, "node.chunk", "node.item") == []
