"""HandlerEngine: calls a handler with a batch of rows, and makes results of what it gives.

A step is one call for all rows of one purpose. What it gives in between (see `Context.tell`) is
handed on at once. Knows no archive and no file.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Callable, Iterable, Sequence
from typing import Final

from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import HandlerFailed
from torchloom.sample import Sample
from torchloom_models.archive.answer import to_outputs
from torchloom_models.archive.context import STREAM_NEXT, Batch, Context
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.failure import tell_raised, to_failure
from torchloom_models.archive.footprint import held_bytes
from torchloom_models.archive.metric import MetricsCache
from torchloom_models.archive.row import Row
from torchloom_models.archive.sequences import Sequences


_log = logging.getLogger(__name__)

_UNAVAILABLE: Final = 503


class HandlerEngine:
    """An Engine around a handler. A call that raises fails its rows: the worker tries them alone.

    `is_continuous`: rows come and go between calls, and one whose answer says that more follows
    stays for the next. With `sequences`, a call has `max_rows` at most: those that have begun,
    and one new row of each sequence in the places that are left. `close` gives back what the
    archive holds.
    """

    def __init__(
        self,
        entry: Entry,
        context: Context,
        *,
        max_tasks: int,
        device: str,
        max_rows: int | None = None,
        is_continuous: bool = False,
        sequences: Sequences | None = None,
        close: Callable[[], None] | None = None,
    ) -> None:
        self.device = device
        self.context = context
        self._entry = entry
        self._room = Room(
            max_tasks=max_tasks,
            is_continuous=is_continuous or sequences is not None,
            sessions=None if sequences is None else sequences.policy,
        )
        self._max_rows = max_rows or max_tasks
        self._can_stay = is_continuous
        self._sequences = sequences
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
        row = Row.of(work)
        if self._sequences is not None:
            row = self._sequences.join(row, work.session)
        self._rows[work.task_id] = row

    def step(self) -> Iterable[Event]:
        """Call the handler, once for the rows of each purpose.

        Raises HandlerFailed where it raises, or gives something else than one item a row. Rows of
        sequences fail instead: a call that was half done cannot be made again.
        """
        rows = self._pick()
        for purpose in dict.fromkeys(row.purpose for row in rows):
            same = [row for row in rows if row.purpose == purpose]
            try:
                yield from self._call(same)
            except HandlerFailed as error:
                if self._sequences is None:
                    raise
                for row in same:
                    self.cancel(row.task_id)
                    yield Failure(row.task_id, error)

    def memory_bytes(self) -> int:
        """Give what torch holds on a CUDA device; 0 elsewhere: the process's growth counts."""
        return held_bytes(self.device)

    def take_samples(self) -> Sequence[Sample]:
        """Give what the handler has measured since it was last asked."""
        metrics = self.context.metrics
        return metrics.log.take() if isinstance(metrics, MetricsCache) else ()

    def cancel(self, task_id: int) -> None:
        """Forget a row: no call is made for it any more."""
        self._rows.pop(task_id, None)

    def close(self) -> None:
        """Give back what the archive holds."""
        if self._close is not None:
            self._close()

    def _pick(self) -> list[Row]:
        """Give the rows of the next step: of each sequence the one that came first.

        Those that have begun to answer stay beside it: what comes next may be what stops them.
        """
        rows = list(self._rows.values())
        if self._sequences is None:
            return rows
        begun = [row for row in rows if row.has_begun]
        firsts: dict[str, Row] = {}
        for row in rows:
            if not row.has_begun:
                firsts.setdefault(row.sequence_id, row)
        return [*begun, *firsts.values()][: self._max_rows]

    def _call(self, rows: Sequence[Row]) -> list[Event]:
        self.context.begin(self._to_batch(rows))
        try:
            given = self._entry([row.data for row in rows], self.context)
            if inspect.iscoroutine(given):
                given = asyncio.run(given)
            items = check_items(given, len(rows))
            self._ask_whether_more_follows(items)
        except HandlerFailed as error:
            tell_raised(error)
            raise
        except (Exception, SystemExit) as error:
            tell_raised(error)
            raise to_failure(error) from error
        finally:
            self.context.end()
        return [self._settle(row, index, items[index]) for index, row in enumerate(rows)]

    def _ask_whether_more_follows(self, items: Sequence[object]) -> None:
        """Ask the handler's criteria of each row, where it has any.

        As in TorchServe, true means that the answer was the last, and None that it is the only one.
        """
        criteria = self.context.stopping_criteria
        if not (criteria and self._can_stay):
            return
        for index, item in enumerate(items):
            is_last = criteria[index](item)
            if is_last is not None and not is_last:
                self.context.set_response_header(index, STREAM_NEXT, "true")

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
        said = self.context.request_processor[index]
        has_more = str(said.get_response_header(STREAM_NEXT)).lower() == "true"
        try:
            outputs = to_outputs(item, said)
        except HandlerFailed as error:
            _log.exception("The answer to %s cannot be sent.", row.request_id)
            self.cancel(row.task_id)
            return Failure(row.task_id, error)
        if has_more and self._can_stay:
            self._rows[row.task_id] = row.again()
            return Chunk(row.task_id, {"data": outputs})
        del self._rows[row.task_id]
        if self._sequences is None:
            return Result(row.task_id, outputs)
        ends = self._sequences.ended_by(row, said.get_response_headers())
        return Result(row.task_id, outputs, ends=ends)


def check_items(given: object, num_rows: int) -> list[object]:
    """Give the items of a call. Raises HandlerFailed unless there is one a row, in a list."""
    if not isinstance(given, list):
        cause = f"the handler gave {type(given).__name__}, not a list"
        raise HandlerFailed("Invalid model predict output", cause=cause, status=_UNAVAILABLE)
    if len(given) != num_rows:
        cause = f"the handler gave {len(given)} items for {num_rows} rows"
        message = "number of batch response mismatched"
        raise HandlerFailed(message, cause=cause, status=_UNAVAILABLE)
    return given
