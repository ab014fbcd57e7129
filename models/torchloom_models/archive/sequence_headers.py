"""SequenceHeaders: which headers tell of sequences. An operator may give them other names."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Self, cast


#: What stands in headers for yes.
YES: Final = "true"


@dataclass(frozen=True, slots=True, kw_only=True)
class SequenceHeaders:
    """The names of those headers. Clients may spell them in any case."""

    id: str = "ts_request_sequence_id"
    start: str = "ts_request_sequence_start"
    end: str = "ts_request_sequence_end"

    @classmethod
    def read(cls, config: Mapping[str, object]) -> Self:
        """Read a model file's `sequence_headers`; what it does not name has its usual name."""
        return cls(**cast("Mapping[str, str]", config.get("sequence_headers", {})))

    def id_of(self, headers: Mapping[str, object]) -> str:
        """Give the sequence that a request names, or an empty text."""
        return _said(headers, self.id)

    def is_start(self, headers: Mapping[str, object]) -> bool:
        """Tell whether a request says that it is the first of its sequence."""
        return _said(headers, self.start).lower() == YES

    def ended_by(self, own: str, headers: Iterable[Mapping[str, object]]) -> list[str]:
        """Give the sequences that headers of a request or an answer end: ids, or `true`: its own.

        `own` is the sequence that the request belongs to.
        """
        said = [_said(each, self.end) for each in headers]
        parts = [part.strip() for each in said for part in each.split(";") if part.strip()]
        return [own if part.lower() == YES else part for part in parts]


def sequence_paths(config: Mapping[str, object]) -> tuple[tuple[str, ...], ...]:
    """Give where in the params of a request its sequence is named: see Deployment."""
    return ("sequence_id",), ("headers", SequenceHeaders.read(config).id)


def _said(headers: Mapping[str, object], name: str) -> str:
    lower = name.lower()
    return next((str(v) for key, v in headers.items() if key.lower() == lower and v), "")
