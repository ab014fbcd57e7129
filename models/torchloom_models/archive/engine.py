"""HandlerEngine: calls a handler with a batch of rows, and makes results of what it gives.

A step is one call for all rows of one purpose. What it gives in between (see `Context.tell`) is
handed on at once. Knows no archive and no file.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import HandlerFailed
from torchloom_models.archive.answer import to_outputs
from torchloom_models.archive.context import Batch, Context
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.failure import to_failure
from torchloom_models.archive.row import Row


_log = logging.getLogger(__name__)

_UNAVAILABLE: Final = 503


class HandlerEngine:
    """An Engine around a handler. A call that raises fails its rows: the worker tries them alone.

    `close` gives back what the archive holds.
    """

    def __init__(
        self,
        entry: Entry,
        context: Context,
        *,
        max_tasks: int,
        device: str,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.device = device
        self._entry = entry
        self.context = context
        self._room = Room(max_tasks=max_tasks)
        self._close = close
        self._rows: dict[int, Row] = {}
        self._tell: Callable[[Chunk], None] | None = None

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._room

    def tell_through(self, tell: Callable[[Chunk], None]) -> None:
        """Take the way by which chunks leave in the middle of a step."""
        self._tell = tell

    def admit(self, work: Work) -> None:
        """Take a row into the next call. Raises InvalidInput for parameters that there are not."""
        self._rows[work.task_id] = Row.of(work)

    def step(self) -> Iterable[Event]:
        """Call the handler, once for the rows of each purpose.

        Raises HandlerFailed where it raises, or gives something else than one item a row.
        """
        rows = list(self._rows.values())
        for purpose in dict.fromkeys(row.purpose for row in rows):
            yield from self._call([row for row in rows if row.purpose == purpose])

    def cancel(self, task_id: int) -> None:
        """Forget a row that no call has been made for."""
        self._rows.pop(task_id, None)

    def close(self) -> None:
        """Give back what the archive holds."""
        if self._close is not None:
            self._close()

    def _call(self, rows: Sequence[Row]) -> list[Event]:
        self.context.begin(self._to_batch(rows))
        try:
            items = self._entry([row.data for row in rows], self.context)
        except (Exception, SystemExit) as error:
            raise to_failure(error) from error
        finally:
            self.context.end()
        if not isinstance(items, list):
            cause = f"the handler gave {type(items).__name__}, not a list"
            raise HandlerFailed("Invalid model predict output", cause=cause, status=_UNAVAILABLE)
        if len(items) != len(rows):
            cause = f"the handler gave {len(items)} items for {len(rows)} rows"
            message = "number of batch response mismatched"
            raise HandlerFailed(message, cause=cause, status=_UNAVAILABLE)
        return [self._settle(row, index, items[index]) for index, row in enumerate(rows)]

    def _to_batch(self, rows: Sequence[Row]) -> Batch:
        return Batch(
            ids=[row.request_id for row in rows],
            headers=[row.headers for row in rows],
            sequence_ids=[row.sequence_id for row in rows],
            tell=lambda index, item: self._pass_on(rows[index], index, item),
        )

    def _pass_on(self, row: Row, index: int, item: object) -> None:
        outputs = to_outputs(item, self.context.request_processor[index])
        if self._tell is not None:
            self._tell(Chunk(row.task_id, {"data": outputs}))

    def _settle(self, row: Row, index: int, item: object) -> Event:
        del self._rows[row.task_id]
        try:
            outputs = to_outputs(item, self.context.request_processor[index])
        except HandlerFailed as error:
            _log.exception("The answer to %s cannot be sent.", row.request_id)
            return Failure(row.task_id, error)
        return Result(row.task_id, outputs)
