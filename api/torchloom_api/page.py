"""Page: a part of a list, and where the next part begins. Knows nothing of what is listed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Generic, TypeVar

import msgspec

from torchloom_api.errors import BadRequest


T = TypeVar("T")
S = TypeVar("S")


class Page(msgspec.Struct, Generic[T], frozen=True, kw_only=True):
    """Some items, how many there are in all, and what to give as `after` for those that follow."""

    items: Sequence[T]
    total: int
    next: str | None = None


def paginate(
    things: Sequence[S],
    *,
    key: Callable[[S], str],
    show: Callable[[S], T],
    limit: int,
    after: str | None,
) -> Page[T]:
    """Cut a page of at most `limit` items, beginning behind the item whose key is `after`.

    Only what is on the page is shown. Raises BadRequest where no item has that key.
    """
    start = 0
    if after is not None:
        start = 1 + next((i for i, thing in enumerate(things) if key(thing) == after), -1)
        if start == 0:
            message = f"There is no item {after!r} to go on from. Begin without 'after'."
            raise BadRequest(message)
    part = things[start : start + limit]
    has_more = start + limit < len(things)
    return Page(
        items=[show(thing) for thing in part],
        total=len(things),
        next=key(part[-1]) if has_more else None,
    )
