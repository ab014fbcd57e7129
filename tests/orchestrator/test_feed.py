"""Feed: items of a node while it still writes them."""

from __future__ import annotations

import pytest
from loom_fakes.clock import ManualClock

from torchloom.feed import Feed


@pytest.fixture
def feed(clock: ManualClock) -> Feed:
    """Give a feed that may start over."""
    return Feed(clock, may_start_over=True)


def test_tells_every_reader_of_every_change(feed: Feed) -> None:
    """An item, a new start and the end are told, to those who still read."""
    told: list[str] = []
    with feed.telling(lambda: told.append("one")):
        feed.add("a")
        with feed.telling(lambda: told.append("two")):
            feed.start_over()
        feed.end({"items": []})
    feed.end(None)
    assert sorted(told) == ["one", "one", "one", "two"]


def test_keeps_items_for_those_who_come_later(feed: Feed) -> None:
    """Whoever begins to read finds what there is, and the outputs once it is over."""
    feed.add("a")
    feed.add("b")
    assert (feed.items, feed.is_over, feed.outputs) == (["a", "b"], False, None)
    assert repr(feed) == "<Feed: 2 items>"
    feed.end({"items": ["a", "b", "c"]})
    assert (feed.is_over, feed.outputs) == (True, {"items": ["a", "b", "c"]})
    assert repr(feed) == "<Feed: 2 items, over>"


def test_starts_over_with_nothing(feed: Feed, clock: ManualClock) -> None:
    """The items before are gone, and their times; the rounds say so."""
    feed.add("a")
    first = feed.items
    clock.advance(1.0)
    feed.start_over()
    feed.add("b")
    assert (first, feed.items, feed.num_rounds) == (["a"], ["b"], 2)
    assert feed.time_of(0) == 1001.0
    with pytest.raises(AssertionError):
        Feed(clock).start_over()


def test_knows_when_each_item_came(feed: Feed, clock: ManualClock) -> None:
    """Items that come with the end came then; and so did the end itself."""
    feed.add("a")
    clock.advance(2.0)
    feed.add("b")
    clock.advance(3.0)
    feed.end({"items": ["a", "b", "c"]})
    assert [feed.time_of(index) for index in (0, 1, 2, None)] == [1000.0, 1002.0, 1005.0, 1005.0]


def test_can_be_over_from_the_start(clock: ManualClock) -> None:
    """It brings nothing, and holds nobody up."""
    feed = Feed.ended(clock)
    assert (feed.is_over, feed.items, feed.outputs) == (True, [], None)
