"""Pages of lists."""

from __future__ import annotations

import pytest

from torchloom_api.errors import BadRequest
from torchloom_api.page import Page, paginate


def cut(things: list[int], limit: int, after: str | None = None) -> Page[str]:
    """Cut a page of numbers."""
    return paginate(things, key=str, show=lambda n: f"<{n}>", limit=limit, after=after)


def test_goes_through_everything_once() -> None:
    """Following `next` gives every item once and in order, and ends."""
    seen: list[str] = []
    page = cut(list(range(7)), 3)
    seen += page.items
    while page.next is not None:
        page = cut(list(range(7)), 3, page.next)
        seen += page.items

    assert seen == [f"<{n}>" for n in range(7)]


def test_tells_the_total() -> None:
    """Each page says how many items there are in all."""
    assert cut(list(range(7)), 3).total == 7


@pytest.mark.parametrize("count", [0, 1, 3])
def test_has_no_next_page_where_all_fits(count: int) -> None:
    """A list that fits one page has no next."""
    assert cut(list(range(count)), 3).next is None


def test_refuses_a_place_that_is_not_there() -> None:
    """An unknown `after` is a bad request, not an empty page."""
    with pytest.raises(BadRequest, match="Begin without 'after'"):
        cut([1, 2], 3, "9")
