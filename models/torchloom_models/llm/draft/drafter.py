"""Drafter: lets a draft model write what sequences may go on with, all of them at once.

What the draft model lacks of a sequence it runs first, in pieces. Its guesses change no answer:
the engine keeps those that its own model draws as well. Knows no scheduling and no text.
"""

from __future__ import annotations

from collections.abc import Sequence as Group
from dataclasses import dataclass, field
from math import isfinite
from typing import Final, Protocol

from torch import Tensor

from torchloom.code_status import CodeStatus
from torchloom_models.llm.draft.table import DraftRow, DraftTable
from torchloom_models.llm.paged_runner import Row
from torchloom_models.llm.span import Span


#: The most tokens that are caught up on in one step, so that nobody's next token waits for long.
_MAX_PIECE: Final = 256


class RowRunner(Protocol):
    """What a Drafter asks of whatever runs the draft model."""

    def run_rows(self, rows: Group[Row]) -> Tensor:
        """Run rows; give logits [rows, vocabulary] after the last token of each."""
        ...

    def clear(self, blocks: Group[int]) -> None:
        """Wipe blocks that may hold NaN."""
        ...

    def code_status(self) -> list[CodeStatus]:
        """Say how the code stands."""
        ...

    def close(self) -> None:
        """Give back what was not to be kept."""
        ...


@dataclass(slots=True, eq=False)
class _Turn:
    """A span that waits for guesses, and those there are."""

    span: Span
    row: DraftRow
    draft: list[int] = field(default_factory=list)

    @property
    def num_missing(self) -> int:
        return self.span.end - self.row.num_held

    def next_guess(self) -> Row:
        """Give what runs the newest guess."""
        return Row(self.draft[-1:], self.span.end + len(self.draft) - 1, self.row.blocks)


class Drafter:
    """A draft model on its own cache.

    `vocabulary_size` is how many tokens the model has that is guessed for, `own_size` how many the
    draft model has: both may have room for tokens that no text has.
    """

    def __init__(
        self, runner: RowRunner, table: DraftTable, *, vocabulary_size: int, own_size: int
    ) -> None:
        self._runner = runner
        self._table = table
        self._vocabulary_size = vocabulary_size
        self._own_size = own_size

    def fill(self, spans: list[Span]) -> list[Span]:
        """Give the spans, with guesses where there is room for some and the model has kept up."""
        wanted = {span.sequence for span in spans if span.room}
        if not wanted:
            return spans
        turns = []
        for span in spans:
            if span.room:
                row = self._table.hold(span.sequence, span.end + span.room - 1, wanted)
                turns += [] if row is None else [_Turn(span, row)]
        self._write(turns)
        by_sequence = {turn.span.sequence: turn for turn in turns}
        return [_filled(span, by_sequence.get(span.sequence)) for span in spans]

    def code_status(self) -> list[CodeStatus]:
        """Say how the draft model's code stands."""
        return self._runner.code_status()

    def close(self) -> None:
        """Give back what was not to be kept."""
        self._runner.close()

    def _write(self, turns: Group[_Turn]) -> None:
        """Write for all at once, a token of each in a pass."""
        going, rows = self._catch_up(turns)
        while rows:
            going = self._guess(going, rows)
            rows = [turn.next_guess() for turn in going]

    def _catch_up(self, turns: Group[_Turn]) -> tuple[list[_Turn], list[Row]]:
        """Run what is missing of the first that lack the least; give those that are then ready."""
        going: list[_Turn] = []
        ready, late = [], []
        left = _MAX_PIECE
        for turn in sorted(turns, key=lambda turn: turn.num_missing):
            count = min(left, turn.num_missing)
            left -= count
            start = turn.row.num_held
            turn.row.num_held += count
            row = Row(turn.span.sequence.ids[start : start + count], start, turn.row.blocks)
            if not turn.num_missing:
                going.append(turn)
                ready.append(row)
            elif count:
                late.append(row)
        if late:
            self._run(late)
        return going, ready

    def _guess(self, turns: Group[_Turn], rows: Group[Row]) -> list[_Turn]:
        """Run rows, and take the token after each; give the turns that go on."""
        going = []
        for turn, token in zip(turns, self._run(rows), strict=True):
            if token is None:
                self._drop(turn)
                continue
            turn.row.guessed = list(turn.draft)
            turn.draft.append(token)
            if len(turn.draft) < turn.span.room:
                going.append(turn)
        return going

    def _run(self, rows: Group[Row]) -> list[int | None]:
        """Give the likeliest token after each row; None where there are no numbers."""
        known = [
            row._replace(tokens=[token if token < self._own_size else 0 for token in row.tokens])
            for row in rows
        ]
        best = self._runner.run_rows(known)[:, : self._vocabulary_size].max(dim=-1)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return [token if isfinite(highest) else None for token, highest in pairs]

    def _drop(self, turn: _Turn) -> None:
        """Begin anew some time with a sequence of which the draft model has made no numbers."""
        self._runner.clear(turn.row.blocks)
        self._table.empty(turn.row)
        turn.row.trust.learn(0)
        turn.draft.clear()


def _filled(span: Span, turn: _Turn | None) -> Span:
    """Give a span with what was guessed for it, if anything was."""
    if turn is None or not turn.draft:
        return span._replace(room=0)
    return span._replace(room=0, draft=turn.draft, guesser=turn.row.trust)
