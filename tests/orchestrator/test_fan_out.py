"""FanOut: what begins, what counts, when a foreach is over."""

from __future__ import annotations

import pytest

from torchloom import fan_out as fan_out_module
from torchloom.errors import InvalidInput, ItemFailed, TaskFailed
from torchloom.fan_out import FanOut
from torchloom.graph import MissingValue


def _begin(fan_out: FanOut, *items: object, is_all: bool = False) -> list[tuple[int, object]]:
    return list(fan_out.begin(items, is_all=is_all))


def test_begins_each_item_once_as_it_comes() -> None:
    """New items begin with their index; the end brings the rest."""
    fan_out = FanOut()
    assert _begin(fan_out, "a") == [(0, "a")]
    assert _begin(fan_out, "a") == []
    assert _begin(fan_out, "a", "b", "c") == [(1, "b"), (2, "c")]
    assert _begin(fan_out, "a", "b", "c", "d", is_all=True) == [(3, "d")]
    assert not fan_out.takes_more


def test_is_settled_when_all_are_known_and_done() -> None:
    """Neither the last item that is there, nor the end alone, is the end of it."""
    fan_out = FanOut()
    _begin(fan_out, "a")
    fan_out.finish(0, {})
    assert not fan_out.is_settled
    _begin(fan_out, "a", "b", is_all=True)
    assert not fan_out.is_settled
    fan_out.finish(1, {})
    assert fan_out.is_settled
    assert repr(fan_out) == "<FanOut: 2 begun, 2 done, None>"


def test_gathers_in_item_order() -> None:
    """Whoever is first; an output that an item lacks is None there."""
    fan_out = FanOut()
    _begin(fan_out, "a", "b", is_all=True)
    fan_out.finish(1, {"x": 2, "more": 3})
    fan_out.finish(0, {"x": 1})
    assert fan_out.gather(("x", "known")) == {"x": [1, 2], "known": [None, None], "more": [None, 3]}


def test_gives_empty_lists_for_no_items() -> None:
    """Of the outputs that are known."""
    fan_out = FanOut()
    assert _begin(fan_out, is_all=True) == []
    assert fan_out.is_settled
    assert fan_out.gather(("x",)) == {"x": []}


def test_waits_for_no_more_than_its_limit() -> None:
    """Once so many have begun the rest is cut, without waiting for the end."""
    fan_out = FanOut(2)
    assert _begin(fan_out, "a", "b", "c") == [(0, "a"), (1, "b")]
    assert not fan_out.takes_more
    fan_out.finish(0, {})
    fan_out.finish(1, {})
    assert fan_out.is_settled


def test_waits_for_the_end_where_its_items_may_be_replaced() -> None:
    """A source with a fallback may still start over; and a limit of 0 says nothing of skipping."""
    fan_out = FanOut(1)
    assert list(fan_out.begin(["a", "b"], is_all=False, may_start_over=True)) == [(0, "a")]
    fan_out.finish(0, {})
    assert not fan_out.is_settled
    assert _begin(fan_out, "a", "b", is_all=True) == []
    assert fan_out.is_settled
    assert _begin(FanOut(0), "a") == []
    assert not FanOut(0).is_settled


def test_fails_at_once_with_the_first_item_that_fails() -> None:
    """The error names the item."""
    fan_out = FanOut()
    _begin(fan_out, "a", "b", "c")
    fan_out.fail(1, TaskFailed("no"))
    assert fan_out.is_settled
    assert not fan_out.takes_more
    fan_out.fail(2, TaskFailed("nor this"))
    with pytest.raises(ItemFailed, match=r"^Item 1: no$"):
        fan_out.gather(())


def test_finishes_those_that_have_begun_where_they_are_watched() -> None:
    """It has failed, begins nothing, and waits for what is under way."""
    fan_out = FanOut(finishes_others=True)
    _begin(fan_out, "a", "b", "c")
    fan_out.fail(1, TaskFailed("no"))
    assert not fan_out.takes_more
    assert not fan_out.is_settled
    fan_out.finish(0, {})
    fan_out.fail(2, TaskFailed("nor this"))
    assert fan_out.is_settled
    with pytest.raises(ItemFailed, match=r"^Item 1: no$"):
        fan_out.gather(())


def test_gives_up_on_what_reads_a_skipped_node() -> None:
    """That concerns all of its items, watched or not."""
    fan_out = FanOut(finishes_others=True)
    _begin(fan_out, "a", "b")
    fan_out.fail(0, MissingValue("gone"))
    assert fan_out.is_settled
    with pytest.raises(MissingValue):
        fan_out.gather(())


def test_bounds_the_number_of_items(monkeypatch: pytest.MonkeyPatch) -> None:
    """One too many fails all at once; a limit cuts before that."""
    monkeypatch.setattr(fan_out_module, "MAX_ITEMS", 2)
    fan_out = FanOut(finishes_others=True)
    assert _begin(fan_out, "a", "b") == [(0, "a"), (1, "b")]
    assert _begin(fan_out, "a", "b", "c") == []
    assert fan_out.is_settled
    with pytest.raises(InvalidInput, match=r"given 3 items; the most is 2\. Set a `limit`"):
        fan_out.gather(())
    assert _begin(FanOut(2), "a", "b", "c") == [(0, "a"), (1, "b")]


def test_knows_what_it_waited_for_last() -> None:
    """An item, by the one that finished last; or the end of the items, where all were done."""
    fan_out = FanOut()
    _begin(fan_out, "a", "b")
    fan_out.finish(1, {})
    fan_out.finish(0, {})
    assert fan_out.last_index == 0
    _begin(fan_out, "a", "b", is_all=True)
    assert fan_out.last_index is None
    late = FanOut()
    _begin(late, "a")
    _begin(late, "a", is_all=True)
    late.finish(0, {})
    assert late.last_index == 0
