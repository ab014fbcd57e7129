"""CodeStatus: how the code of one part of an engine stands. Knows no compiler and no framework."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable


#: `none`: there is no code yet, and none is being made. `compiling`: some is being made, while
#: other code or eager code serves. `compiled`: there is code, and nothing is being made. `eager`:
#: for good.
CodeState = Literal["none", "compiling", "compiled", "eager"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CodeStatus:
    """The code of one part of an engine.

    `num_compiled`: for how many layouts of inputs (buckets) there is code; `pending`: which ones it
    is being made for, in words; `failures`: why others have none and never will. A part that is
    `eager` without failures was asked to be.
    """

    part: str
    state: CodeState
    num_compiled: int = 0
    pending: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()


@runtime_checkable
class Compiled(Protocol):
    """An Engine whose code is compiled, before or while it serves."""

    def code_status(self) -> Sequence[CodeStatus]:
        """Say how each part stands. Called between steps, and while it is idle; never waits.

        An engine that gives no part once, after it was opened, is not asked again.
        """
        ...


def is_changing(parts: Iterable[CodeStatus]) -> bool:
    """Tell whether there will be something new to say without any step."""
    return any(part.state == "compiling" for part in parts)
