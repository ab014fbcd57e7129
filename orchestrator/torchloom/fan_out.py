"""FanOut: the items of one foreach: which have begun, what came of each, and when it is over.

Decides and starts nothing; knows neither where items come from nor what is done with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from torchloom.engine import Values
from torchloom.errors import InvalidInput, ItemFailed, TorchLoomError
from torchloom.graph import MissingValue


#: The most items of one foreach.
MAX_ITEMS = 10_000


class FanOut:
    """Counts items as they begin and end; gathers what they give in their order.

    The first item that fails, fails all. With `finishes_others` those that have begun are awaited
    nevertheless, so that what they give can be told.
    """

    def __init__(self, limit: int | None = None, *, finishes_others: bool = False) -> None:
        self.num_begun = 0
        self.last_index: int | None = None
        self.knows_all = False
        self.error: TorchLoomError | MissingValue | None = None
        self._limit = limit
        self._finishes_others = finishes_others
        self._is_given_up = False
        self._results: dict[int, Values] = {}
        self._num_failed = 0

    def __repr__(self) -> str:
        """Say how far it is."""
        return f"<FanOut: {self.num_begun} begun, {len(self._results)} done, {self.error!r}>"

    @property
    def is_settled(self) -> bool:
        """Tell whether there is nothing to wait for."""
        if self._is_given_up:
            return True
        return (self.knows_all or self.error is not None) and not self._num_in_flight

    @property
    def takes_more(self) -> bool:
        """Tell whether further items would be begun."""
        return self.error is None and not self.knows_all

    @property
    def _num_in_flight(self) -> int:
        return self.num_begun - len(self._results) - self._num_failed

    def begin(
        self, items: Sequence[object], *, is_all: bool, may_start_over: bool = False
    ) -> Iterable[tuple[int, object]]:
        """Take account of the items that there are; give those to begin now, with their index.

        Past its limit it waits for no more items, unless they may all be replaced.
        """
        assert self.takes_more
        stop = len(items) if self._limit is None else min(self._limit, len(items))
        if stop > MAX_ITEMS:
            message = f"`foreach` was given {stop} items; the most is {MAX_ITEMS}. Set a `limit`."
            self.give_up(InvalidInput(message))
            return ()
        begun, self.num_begun = self.num_begun, max(stop, self.num_begun)
        is_full = 0 < stop == self._limit and not may_start_over
        self.knows_all = is_all or is_full
        if is_all and not self._num_in_flight:
            self.last_index = None
        return zip(range(begun, stop), items[begun:stop], strict=True)

    def finish(self, index: int, outputs: Values) -> None:
        """Note what an item gave."""
        self._results[index] = outputs
        self.last_index = index

    def fail(self, index: int, error: TorchLoomError | MissingValue) -> None:
        """Note that an item failed for good, or reads what was skipped. The first one counts."""
        self._num_failed += 1
        if isinstance(error, MissingValue):
            self.give_up(error)
        elif self.error is None:
            self.error = ItemFailed(index, error)
            self._is_given_up = not self._finishes_others

    def give_up(self, error: TorchLoomError | MissingValue) -> None:
        """Fail all, at once."""
        self.error = self.error or error
        self._is_given_up = True

    def gather(self, names: Iterable[str]) -> Values:
        """Give each output as a list, in item order, those named included where there is no item.

        Raises what it failed for.
        """
        if self.error is not None:
            raise self.error
        results = [self._results[index] for index in range(self.num_begun)]
        known = dict.fromkeys([*names, *(name for result in results for name in result)])
        return {name: [result.get(name) for result in results] for name in known}
