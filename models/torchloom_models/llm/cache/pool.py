"""Pool: what a Scheduler asks of whoever knows which blocks of a cache are free, held or kept.

Kept are blocks that nobody holds, for the beginnings that they hold. Knows no way to share them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable
from collections.abc import Sequence as Group
from typing import NamedTuple, Protocol


class Holder(Protocol):
    """What a pool knows of a sequence.

    `ids` are its tokens, `blocks` hold the first `num_held` of them, computed by the adapter at
    `place`; `root` is the content that stands before the first. The pool keeps `content`, what the
    blocks that are published end with, and their number.
    """

    ids: list[int]
    blocks: list[int]
    num_held: int
    content: int
    num_published: int

    @property
    def root(self) -> int:
        """The content that stands before its first token."""
        ...

    @property
    def place(self) -> int:
        """The place of its adapter."""
        ...


class Move(NamedTuple):
    """The first `length` tokens of one block are copied to another.

    The first `num_back` of the other go the opposite way at the same time: both are exchanged.
    """

    source: int
    target: int
    length: int
    num_back: int = 0


class Pool(Protocol):
    """Blocks 0 … `num_blocks` - 1 of one cache.

    `moves` are copies that its decisions need, in this order, before the next pass; whoever has
    made one takes it out.
    """

    num_blocks: int
    moves: deque[Move]

    @property
    def num_free(self) -> int:
        """How many blocks can be handed out, kept ones included."""
        ...

    @property
    def num_kept(self) -> int:
        """How many blocks nobody holds that can still be shared."""
        ...

    def num_needed(self, length: int) -> int:
        """Give how many blocks so many tokens take."""
        ...

    def begin(self, holder: Holder, *, num_spare: int = 0, may_share: bool = True) -> bool:
        """Give blocks for all its tokens to one that holds none, unless too few would be left.

        `num_spare` others must be free then. What it may share it holds at once, save its last
        token: something must be left to run.
        """
        ...

    def make_room(self, holder: Holder, length: int) -> bool:
        """Give blocks for so many tokens, unless too few are free."""
        ...

    def note(self, holder: Holder) -> None:
        """Let others share what a holder holds by now."""
        ...

    def release(self, blocks: Group[int]) -> None:
        """Take the blocks of one holder back."""
        ...

    def forget(self, blocks: Iterable[int]) -> list[int]:
        """Let nobody find held blocks any more; give those that have but one holder."""
        ...

    def compact(self, holders: Iterable[Holder]) -> None:
        """Move all that hold blocks to lower ones wherever that makes a pass smaller."""
        ...

    def check(self, held: Iterable[Group[int]]) -> None:
        """Assert the invariants, `held` being the blocks of each that holds any."""
        ...
