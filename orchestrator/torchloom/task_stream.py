"""TaskStream: the chunks of one task, on their way to who watches the run and to live readers.

Cuts items out of them. Knows neither attempts nor who makes chunks.
"""

from __future__ import annotations

from collections.abc import Sequence

from torchloom.engine import Values
from torchloom.errors import TaskFailed, TorchLoomError
from torchloom.feed import Feed
from torchloom.graph import Node
from torchloom.items import ItemCutter, cut
from torchloom.watcher import Watcher


class TaskStream:
    """Takes the chunks of an attempt as they come, then its outputs.

    What has been told or given on is not taken back, but for a fallback, which starts over. Items
    that were given on are the first of the output `items`.
    """

    def __init__(
        self, node: Node, task: int | None, *, watcher: Watcher | None, outlet: Feed | None
    ) -> None:
        self._node = node
        self._task = task
        self._watcher = watcher
        self._outlet = outlet
        self._begin()

    def _begin(self) -> None:
        self._cutter = ItemCutter(self._node.items) if self._node.items else None
        self._written: list[str] = []
        self._items: list[object] = []
        self._error: TorchLoomError | None = None
        #: Whether somebody has seen some of it: another attempt would contradict that.
        self.has_begun = False

    def begin_attempt(self) -> None:
        """Forget what an attempt before wrote, of which nobody has seen anything."""
        assert not self.has_begun
        self._begin()

    def start_over(self, error: TorchLoomError) -> None:
        """Make room for what stands in for a task that failed for good."""
        had_begun, gave_items = self.has_begun, bool(self._items)
        self._begin()
        if had_begun and self._watcher is not None:
            self._watcher.on_start_over(self._node, self._task, error)
        if gave_items and self._outlet is not None:
            self._outlet.start_over()

    def add(self, data: Values) -> None:
        """Take a chunk. Never raises: what cannot be cut fails the task at its end."""
        if self._watcher is not None:
            self.has_begun = True
            self._watcher.on_chunk(self._node, self._task, data)
        text = data.get("text")
        if self._cutter is not None and isinstance(text, str):
            self._written.append(text)
            self._cut(self._cutter, text)
        elif self._cutter is None and self._outlet is not None and "data" in data:
            self._give([data["data"]])

    def _cut(self, cutter: ItemCutter, text: str) -> None:
        if self._error is not None:
            return
        try:
            items = cutter.feed(text)
        except TorchLoomError as error:
            self._error = error
        else:
            self._give(items)

    def finish(self, outputs: Values) -> Values:
        """Take what the task gave; give it with all its items.

        Raises TaskFailed where that contradicts its chunks, or cannot be cut.
        """
        if self._error is not None:
            raise self._error
        if self._cutter is None:
            return self._finish_values(outputs)
        text = outputs.get("text")
        if not isinstance(text, str):
            if self._items:
                raise _contradiction()
            return outputs
        self._give(self._rest(self._cutter, text))
        return {**outputs, "items": self._items}

    def _rest(self, cutter: ItemCutter, text: str) -> list[object]:
        written = "".join(self._written)
        if text.startswith(written):
            return cutter.finish(text[len(written) :])
        items = cut(cutter.items, text)
        num_given = len(self._items)
        if items[:num_given] != self._items:
            raise _contradiction()
        return items[num_given:]

    def _finish_values(self, outputs: Values) -> Values:
        """Lay the values that came as chunks over those of the outputs: they are the same."""
        if not self._items:
            return outputs
        items = outputs.get("items")
        if not isinstance(items, list | tuple) or len(items) < len(self._items):
            raise _contradiction()
        return {**outputs, "items": [*self._items, *items[len(self._items) :]]}

    def _give(self, items: Sequence[object]) -> None:
        for item in items:
            if self._watcher is not None and self._cutter is not None:
                self._watcher.on_item(self._node, self._task, len(self._items), item)
            self._items.append(item)
            if self._outlet is not None:
                self.has_begun = True
                self._outlet.add(item)


def _contradiction() -> TaskFailed:
    return TaskFailed("The answer does not begin with the items that it gave while it was written.")
