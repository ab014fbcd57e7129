"""Sequences: what an archive says of requests that belong together. Knows no handler.

A sequence is a session of the scheduler's, which knows which are open and where each is; here it
is told to handlers by headers, and read from theirs.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from msgspec.structs import replace

from torchloom.policy import SessionPolicy
from torchloom_models.archive.row import Row
from torchloom_models.archive.sequence_headers import YES, SequenceHeaders


@dataclass(frozen=True, slots=True, kw_only=True)
class Sequences:
    """How many there may be, for how long, and which headers tell of them."""

    policy: SessionPolicy
    headers: SequenceHeaders = field(default_factory=SequenceHeaders)

    def join(self, row: Row, session: str) -> Row:
        """Tell the handler which sequence a row is of, and whether it says that it is the first.

        A row that names none is: its `session` has been begun for it.
        """
        names = self.headers
        said = row.sequence_id or names.id_of(row.headers)
        told = {names.id: session or said}
        if not said or names.is_start(row.headers):
            told[names.start] = YES
        return replace(row, sequence_id=told[names.id], headers={**row.headers, **told})

    def ended_by(self, row: Row, said: Mapping[str, object]) -> list[str]:
        """Give the sequences that end with a row, by its own headers or those of its answer.

        What only asks for a description is none.
        """
        own = [row.sequence_id] if row.is_describe else []
        return [*own, *self.headers.ended_by(row.sequence_id, (row.headers, said))]
