"""WaitingLine: callers who wait for a place in a full queue, in their order. Knows no task."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable


class WaitingLine:
    """Lets in as many as there are places; `places` counts those free and `is_over` ends it."""

    def __init__(self, places: Callable[[], int], is_over: Callable[[], bool]) -> None:
        self._places = places
        self._is_over = is_over
        self._waiting: OrderedDict[asyncio.Future[None], None] = OrderedDict()
        #: How many have been let in but have not come yet.
        self._num_invited = 0

    def __len__(self) -> int:
        """Count those who wait."""
        return len(self._waiting)

    async def wait_turn(self) -> None:
        """Wait until it is the caller's turn; one who leaves passes the turn on."""
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting[turn] = None
        try:
            await turn
        except asyncio.CancelledError:
            self._waiting.pop(turn, None)
            if not turn.cancelled():  # it was its turn: the place goes to the next
                self._num_invited -= 1
                self.let_in()
            raise
        self._num_invited -= 1

    def let_in(self) -> None:
        """Wake as many as there are places, and all if none will come."""
        if not self._waiting:
            return  # almost always
        places = self._places() - self._num_invited
        while self._waiting and (places > 0 or self._is_over()):
            turn, _ = self._waiting.popitem(last=False)
            if not turn.done():
                turn.set_result(None)
                self._num_invited += 1
                places -= 1
