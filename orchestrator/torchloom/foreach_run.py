"""ForeachRun: the foreach of one node of one run: a task an item, from a list or from a feed.

FanOut decides; this awaits. Knows neither attempts nor other nodes.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence

from torchloom.engine import Values
from torchloom.errors import InvalidInput, TorchLoomError
from torchloom.fan_out import FanOut
from torchloom.feed import Feed
from torchloom.graph import MissingValue, Node
from torchloom.watcher import Watcher


#: Works one item out, given its scope and its index.
ExecuteItem = Callable[[Mapping[str, object], int], Awaitable[Values]]


class ForeachRun:
    """Runs one task an item, each as soon as the item is there.

    A `watcher`, where there is one, hears of each item that is done; those that have begun are then
    finished even where another has failed.
    """

    def __init__(
        self,
        node: Node,
        execute_item: ExecuteItem,
        *,
        watcher: Watcher | None,
        now: Callable[[], float],
    ) -> None:
        self._node = node
        self._execute = execute_item
        self._watcher = watcher
        self._now = now
        self._changed = asyncio.Event()
        #: When what it waited for last came from its source, in the clock's seconds.
        self.fed_at: float | None = None

    async def execute(self, scope: Mapping[str, object], source: Feed | None) -> Values:
        """Gather each output as a list, in item order.

        Without a source the items are in the scope. Raises MissingValue where it reads what was
        skipped, InvalidInput for what is no list or has no bound, ItemFailed.
        """
        limit = self._limit(scope)
        feed = source or Feed.ended(self._now)
        while True:
            fan_out = FanOut(limit, finishes_others=self._watcher is not None)
            if await self._execute_round(fan_out, feed, scope):
                break
            if self._watcher is not None and fan_out.num_begun:
                self._watcher.on_start_over(self._node, None, None)
        outputs = fan_out.gather(self._node.outputs)
        if source is not None:
            self.fed_at = source.time_of(fan_out.last_index)
        return outputs

    async def _execute_round(
        self, fan_out: FanOut, feed: Feed, scope: Mapping[str, object]
    ) -> bool:
        """Run the items of a feed; False where others have come in their place."""
        tasks: list[asyncio.Task[None]] = []
        num_rounds, is_current = feed.num_rounds, True
        async with asyncio.TaskGroup() as group:
            with feed.telling(self._changed.set):
                while is_current:
                    for index, item in self._begin(fan_out, feed, scope):
                        inner = {**scope, "item": item, "index": index}
                        tasks.append(group.create_task(self._execute_item(fan_out, inner, index)))
                    if fan_out.is_settled:
                        break
                    self._changed.clear()
                    await self._changed.wait()
                    # One that has failed has failed, whatever comes in the place of its items.
                    is_current = feed.num_rounds == num_rounds or fan_out.error is not None
            for task in tasks:
                task.cancel()
        return is_current

    def _begin(
        self, fan_out: FanOut, feed: Feed, scope: Mapping[str, object]
    ) -> Iterable[tuple[int, object]]:
        """Give the items that begin now."""
        if not fan_out.takes_more:
            return ()
        if not feed.is_over:
            return fan_out.begin(feed.items, is_all=False, may_start_over=feed.may_start_over)
        if self._node.live is not None and feed.outputs is not None:
            scope = {**scope, self._node.live: feed.outputs}
        try:
            items = self._list_items(scope)
        except (TorchLoomError, MissingValue) as error:
            fan_out.give_up(error)
            return ()
        return fan_out.begin(items, is_all=True)

    def _list_items(self, scope: Mapping[str, object]) -> Sequence[object]:
        assert self._node.foreach is not None
        items = self._node.foreach.evaluate(scope)
        if not isinstance(items, Sequence) or isinstance(items, str | bytes):
            message = f"`foreach` needs a list and was given a {type(items).__name__}."
            raise InvalidInput(message)
        return items

    def _limit(self, scope: Mapping[str, object]) -> int | None:
        limit = self._node.limit.evaluate(scope) if self._node.limit else None
        if limit is not None and (not isinstance(limit, int) or limit < 0):
            raise InvalidInput(f"`limit` needs a whole number from 0 up and was given {limit!r}.")
        return limit

    async def _execute_item(self, fan_out: FanOut, scope: Mapping[str, object], index: int) -> None:
        try:
            outputs = await self._execute(scope, index)
        except (TorchLoomError, MissingValue) as error:
            fan_out.fail(index, error)
        else:
            fan_out.finish(index, outputs)
            if self._watcher is not None:
                self._watcher.on_outputs(self._node, index, outputs)
        self._changed.set()
