"""Progress: the sets of a run."""

from __future__ import annotations

from dataclasses import replace

from loom_fakes.graphs import make_graph, model_node, to_binding

from torchloom.progress import Progress


DIAMOND = make_graph(
    model_node("top", text="$inputs.text"),
    model_node("left", text="$top.text"),
    model_node("right", text="$top.text"),
    model_node("end", a="$left.text", b="$right.text"),
    outputs={"top": "$top.text", "end": "$end.text"},
)


def test_starts_what_has_all_it_needs() -> None:
    """A node is ready when every need is settled, and is given out once."""
    progress = Progress(DIAMOND)
    assert progress.start_ready() == ["top"]
    assert progress.start_ready() == []
    progress.finish("top", {"text": "x"})
    assert progress.start_ready() == ["left", "right"]
    progress.finish("left", {"text": "l"})
    assert progress.start_ready() == []
    progress.finish("right", {"text": "r"})
    assert progress.start_ready() == ["end"]


def test_drops_results_after_their_last_reader() -> None:
    """Memory holds what someone is still to read: nodes, or the outputs at the end."""
    progress = Progress(DIAMOND)
    progress.start_ready()
    progress.finish("top", {"text": "x"})
    progress.start_ready()
    progress.finish("left", {"text": "l"})
    progress.finish("right", {"text": "r"})
    assert set(progress.results) == {"top", "left", "right"}
    progress.start_ready()
    progress.finish("end", {"text": "e"})
    assert set(progress.results) == {"top", "end"}


def test_keeps_no_result_that_nobody_reads() -> None:
    """A node that is only waited for leaves nothing behind."""
    graph = make_graph(model_node("first"), replace(model_node("last"), after=frozenset({"first"})))
    progress = Progress(graph)
    assert progress.start_ready() == ["first"]
    progress.finish("first", {"text": "x"})
    assert progress.results == {}
    assert progress.start_ready() == ["last"]


def test_counts_a_skipped_node_as_settled() -> None:
    """What needs a skipped node may start, finds no result, and frees what it has read."""
    progress = Progress(DIAMOND)
    progress.start_ready()
    progress.finish("top", {"text": "x"})
    progress.start_ready()
    progress.skip("left")
    progress.skip("right")
    assert progress.start_ready() == ["end"]
    assert set(progress.results) == {"top"}
    shown = "in flight: ['end']; done: ['top']; skipped: ['left', 'right']"
    assert repr(progress) == f"<Progress {shown}>"


LIVE = make_graph(
    model_node("style"),
    model_node("prompts", text="$inputs.idea"),
    replace(
        model_node("pictures", prompt="$item", style="$style.text"),
        foreach=to_binding("$prompts.items"),
        live="prompts",
    ),
    model_node("page", pictures="$pictures.image"),
)


def test_starts_a_live_reader_once_its_source_is_in_flight() -> None:
    """Its other needs must be settled first; its own readers wait for its end."""
    progress = Progress(LIVE)
    assert progress.start_ready() == ["prompts", "style"]
    progress.finish("style", {"text": "s"})
    assert progress.start_ready() == ["pictures"]
    assert progress.start_ready() == []
    progress.finish("prompts", {"items": []})
    assert set(progress.results) == {"style", "prompts"}
    progress.finish("pictures", {"image": []})
    assert set(progress.results) == {"pictures"}
    assert progress.start_ready() == ["page"]


def test_starts_a_live_reader_together_with_its_source() -> None:
    """Where nothing else is needed both go at once, the source first."""
    graph = make_graph(
        model_node("z"),
        replace(model_node("a", x="$item"), foreach=to_binding("$z.items"), live="z"),
    )
    assert Progress(graph).start_ready() == ["z", "a"]


def test_lets_a_live_reader_finish_before_its_source() -> None:
    """The source's result is then kept for nobody."""
    progress = Progress(LIVE)
    progress.start_ready()
    progress.finish("style", {})
    progress.start_ready()
    progress.finish("pictures", {"image": []})
    assert progress.start_ready() == ["page"]
    progress.finish("prompts", {"items": []})
    assert set(progress.results) == {"pictures"}


def test_starts_a_live_reader_after_the_end_of_its_source_too() -> None:
    """A source that is done, or skipped, is a need that is settled."""
    progress = Progress(LIVE)
    progress.start_ready()
    progress.skip("prompts")
    assert progress.start_ready() == []
    progress.finish("style", {})
    assert progress.start_ready() == ["pictures"]
