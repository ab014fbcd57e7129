"""Adapter: one that is loaded: its name, and what tells its rows and blocks. Knows no tensors."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final


#: The place of rows that have no adapter.
NO_PLACE: Final = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """An adapter in its place of a stack.

    `root` is the content that stands before the first token of its sequences: below 0, and another
    one each time that any adapter is loaded, so that no two ever share a block.
    """

    name: str
    source: str
    place: int
    root: int
