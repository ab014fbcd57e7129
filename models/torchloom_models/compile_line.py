"""CompileLine: layouts that wait to be compiled beside the serving, one at a time.

Those that are asked for most go first. How many go at all is bounded. Knows not how to compile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Hashable, Sequence

from torch import Tensor

from torchloom_models.demand import Like, Likes


#: Layouts that wait; one that is new when so many do is not taken, and may come again.
_MAX_WAITING = 256


class CompileLine:
    """A thread that is started when the first layout comes."""

    def __init__(
        self,
        name: str,
        *,
        compile_one: Callable[[Hashable, Likes], None],
        rank: Callable[[Hashable], int],
        max_layouts: int,
    ) -> None:
        self._name = name
        self._compile_one = compile_one
        self._rank = rank
        self._left = max_layouts
        #: Layouts that were taken, in time: none is compiled twice.
        self._taken: set[Hashable] = set()
        self._waiting: dict[Hashable, Likes] = {}
        self._changed = threading.Condition()
        #: What compiles now.
        self._current: Likes | None = None
        self._is_closed = False
        self._thread: threading.Thread | None = None

    def add(self, layout: Hashable, arguments: Sequence[Tensor]) -> None:
        """Take a layout, unless it was taken before or there is no room; never waits long."""
        if layout in self._taken or not self._left:
            return
        with self._changed:
            if len(self._waiting) >= _MAX_WAITING or self._is_closed:
                return
            self._taken.add(layout)
            self._waiting[layout] = tuple(Like.of(tensor) for tensor in arguments)
            self._changed.notify_all()
        if self._thread is None:
            self._thread = threading.Thread(target=self._work, name=self._name, daemon=True)
            self._thread.start()

    def has_taken(self, layout: Hashable) -> bool:
        """Say whether a layout waits, compiles, or has been compiled here."""
        return layout in self._taken

    @property
    def pending(self) -> int:
        """How many layouts compile, or wait for it."""
        return len(self._waiting) + (self._current is not None)

    def unfinished(self) -> list[Likes]:
        """List what compiles, and then what waits for it."""
        with self._changed:
            current = [] if self._current is None else [self._current]
            return [*current, *self._waiting.values()]

    @property
    def is_used_up(self) -> bool:
        """Whether no further layout will be compiled."""
        return not self._left

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when nothing compiles any more (True), or when the time is over (False)."""
        with self._changed:
            return self._changed.wait_for(lambda: not self.pending, timeout_s)

    def close(self) -> None:
        """Drop what waits, and wait for what compiles."""
        with self._changed:
            self._is_closed = True
            self._waiting.clear()
            self._changed.notify_all()
        if self._thread is not None:
            self._thread.join()

    def _work(self) -> None:
        while (order := self._next()) is not None:
            try:
                self._compile_one(*order)
            finally:
                with self._changed:
                    self._current = None
                    self._changed.notify_all()

    def _next(self) -> tuple[Hashable, Likes] | None:
        """Wait for the next order; None when the line is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._is_closed)
            if self._is_closed:
                return None
            layout = max(self._waiting, key=self._rank)
            self._current = self._waiting.pop(layout)
            self._left -= 1
            if not self._left:
                self._waiting.clear()
            return layout, self._current
