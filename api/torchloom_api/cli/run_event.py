"""RunEvent: one event of a run as it arrives. Knows not where it came from."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunEvent:
    """`run.started`, `node.chunk`, `run.finished`, …, and what it tells."""

    type: str
    data: Mapping[str, object]
