"""TaskStream: chunks of a task, told and cut into items."""

from __future__ import annotations

from dataclasses import replace

import pytest
from loom_fakes.clock import ManualClock
from loom_fakes.graphs import model_node
from loom_fakes.watcher import NotingWatcher

from torchloom.errors import TaskFailed
from torchloom.feed import Feed
from torchloom.graph import Items, Node
from torchloom.task_stream import TaskStream


LINES = replace(model_node("n"), items=Items("lines"))
JSON = replace(model_node("n"), items=Items("json"))
VALUES = model_node("n")


@pytest.fixture
def feed(clock: ManualClock) -> Feed:
    """Give a feed that may start over."""
    return Feed(clock, may_start_over=True)


def test_tells_chunks_and_items_as_they_come() -> None:
    """The last item comes with the end; all of them are the output `items`."""
    watcher = NotingWatcher()
    stream = TaskStream(LINES, 4, watcher=watcher, outlet=None)
    assert not stream.has_begun
    for piece in ("red cir", "cle\nblue"):
        stream.add({"text": piece})
    assert stream.has_begun
    outputs = stream.finish({"text": "red circle\nblue"})
    assert outputs == {"text": "red circle\nblue", "items": ["red circle", "blue"]}
    assert watcher.told == [
        ("chunk", 4, {"text": "red cir"}),
        ("chunk", 4, {"text": "cle\nblue"}),
        ("item", 4, 0, "red circle"),
        ("item", 4, 1, "blue"),
    ]


def test_gives_items_to_live_readers_whether_anybody_watches_or_not(feed: Feed) -> None:
    """It has begun only once an item has been given: before that nobody has seen anything."""
    stream = TaskStream(LINES, None, watcher=None, outlet=feed)
    stream.add({"text": "a"})
    stream.add({"image": b"x"})
    assert (feed.items, stream.has_begun) == ([], False)
    stream.add({"text": "\nb"})
    assert (feed.items, stream.has_begun) == (["a"], True)
    assert stream.finish({"text": "a\nb"})["items"] == feed.items == ["a", "b"]


def test_gives_the_values_of_a_generator_as_items(feed: Feed) -> None:
    """Each value that is yielded is an item; they are chunks already, and not told twice."""
    watcher = NotingWatcher()
    stream = TaskStream(VALUES, None, watcher=watcher, outlet=feed)
    stream.add({"data": {"n": 1}})
    stream.add({"text": "aside"})
    assert stream.finish({"items": [{"n": 1}, {"n": 2}], "sum": 3}) == {
        "items": [{"n": 1}, {"n": 2}],
        "sum": 3,
    }
    assert feed.items == [{"n": 1}]
    assert [kind for kind, *_ in watcher.told] == ["chunk", "chunk"]


def test_leaves_outputs_alone_that_have_no_items(feed: Feed) -> None:
    """What has no text has no items; nor has what yields nothing."""
    outputs = {"image": b"x"}
    assert TaskStream(LINES, None, watcher=None, outlet=feed).finish(outputs) == outputs
    assert TaskStream(VALUES, None, watcher=None, outlet=feed).finish(outputs) == outputs
    stream = TaskStream(VALUES, None, watcher=NotingWatcher(), outlet=None)
    stream.add({"data": 1})
    assert stream.finish(outputs) == outputs


def test_takes_an_answer_that_goes_on_behind_its_chunks(feed: Feed) -> None:
    """A model that streams a part, or nothing, gives the rest at its end."""
    stream = TaskStream(LINES, None, watcher=None, outlet=feed)
    stream.add({"text": "a\nb"})
    assert stream.finish({"text": "a\nbc\nd"})["items"] == feed.items == ["a", "bc", "d"]


def test_takes_an_answer_whose_items_are_the_same(feed: Feed) -> None:
    """Blanks at the ends, say, make another text and no other items."""
    stream = TaskStream(LINES, None, watcher=None, outlet=feed)
    stream.add({"text": " a\nb"})
    assert stream.finish({"text": "a\nb"})["items"] == feed.items == ["a", "b"]


@pytest.mark.parametrize(
    ("node", "chunk", "outputs"),
    [
        (LINES, {"text": "a\nb"}, {"text": "x\nb"}),
        (LINES, {"text": "a\nb"}, {"image": b"x"}),
        (VALUES, {"data": 1}, {"items": []}),
        (VALUES, {"data": 1}, {"value": 1}),
    ],
)
def test_fails_where_the_answer_contradicts_its_chunks(
    node: Node, chunk: dict[str, object], outputs: dict[str, object], feed: Feed
) -> None:
    """Readers have begun on items that are none: that is not passed over."""
    stream = TaskStream(node, None, watcher=None, outlet=feed)
    stream.add(chunk)
    with pytest.raises(TaskFailed, match="does not begin with the items"):
        stream.finish(outputs)


def test_fails_at_its_end_for_what_cannot_be_cut(feed: Feed) -> None:
    """Who sends chunks is not troubled; what came before stays given."""
    stream = TaskStream(JSON, None, watcher=None, outlet=feed)
    stream.add({"text": '["a", '})
    stream.add({"text": "[" * 100_000})
    stream.add({"text": '"b"'})
    assert feed.items == ["a"]
    with pytest.raises(TaskFailed, match="nested too deep"):
        stream.finish({"text": "whatever"})


def test_forgets_an_attempt_of_which_nobody_has_seen_anything(feed: Feed) -> None:
    """What has been seen cannot be forgotten."""
    stream = TaskStream(LINES, None, watcher=None, outlet=feed)
    stream.add({"text": "half"})
    stream.begin_attempt()
    stream.add({"text": "a\n"})
    assert feed.items == ["a"]
    with pytest.raises(AssertionError):
        stream.begin_attempt()


def test_starts_over_for_what_stands_in(feed: Feed) -> None:
    """Watchers and readers are told, and then get the items of the fallback alone."""
    watcher = NotingWatcher()
    stream = TaskStream(LINES, 2, watcher=watcher, outlet=feed)
    stream.add({"text": "a\nb"})
    stream.start_over(TaskFailed("gone"))
    assert (feed.items, feed.num_rounds) == ([], 2)
    assert stream.finish({"text": "x\ny"})["items"] == feed.items == ["x", "y"]
    assert watcher.told[-3:] == [
        ("start over", 2, "gone"),
        ("item", 2, 0, "x"),
        ("item", 2, 1, "y"),
    ]


def test_starts_over_in_silence_where_nothing_was_seen(feed: Feed) -> None:
    """There is nothing to take back."""
    watcher = NotingWatcher()
    TaskStream(LINES, None, watcher=watcher, outlet=feed).start_over(TaskFailed("gone"))
    assert (watcher.told, feed.num_rounds) == ([], 1)
    stream = TaskStream(LINES, None, watcher=None, outlet=None)
    stream.add({"text": "a\n"})
    stream.start_over(TaskFailed("gone"))
    watched = TaskStream(LINES, None, watcher=watcher, outlet=None)
    watched.add({"text": "a\n"})
    watched.start_over(TaskFailed("gone"))
    assert watcher.told[-1] == ("start over", None, "gone")
