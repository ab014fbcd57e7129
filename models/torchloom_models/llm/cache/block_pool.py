"""BlockPool: which blocks of a cache are free, held, or kept for the prefix that they hold.

A block holds the keys and values of `block_size` tokens in a row. One that is full can be published
under all tokens up to its end; whoever begins with the same tokens shares it. Knows no tensors, no
model and no sequences.
"""

from __future__ import annotations

import heapq
from collections import OrderedDict, deque
from collections.abc import Iterable, Sequence
from typing import Final, NamedTuple

from torchloom_models.llm.cache.pool import Holder, Move


#: The content that stands before the first token.
ROOT: Final = 0


class _Published(NamedTuple):
    """What a full block holds: `tokens`, after what the content `parent` names."""

    parent: int
    tokens: tuple[int, ...]


class Match(NamedTuple):
    """Blocks that hold the beginning of a sequence, and the content of the last of them."""

    blocks: list[int]
    content: int


class BlockPool:
    """Hands out blocks 0 … `num_blocks` - 1, the lowest first, and takes them back.

    A published block that nobody holds stays, and can be shared again, until its room is needed:
    the one that was held least recently goes first. Contents have numbers that are never used
    twice, so that a block whose forerunner is gone can no longer be found, and goes in its turn.
    """

    def __init__(self, num_blocks: int, block_size: int, *, is_shared: bool = True) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        #: Whether full blocks are published; else each sequence has its own.
        self.is_shared = is_shared
        #: Stays empty: blocks are shared where they lie.
        self.moves: deque[Move] = deque()
        self._free = list(range(num_blocks))
        self._holders = [0] * num_blocks
        #: Published blocks that nobody holds; the first was held least recently.
        self._kept: OrderedDict[int, None] = OrderedDict()
        self._block_of: dict[_Published, tuple[int, int]] = {}
        self._published: dict[int, _Published] = {}
        self._last_content = ROOT

    @property
    def num_free(self) -> int:
        """How many blocks can be handed out, kept ones included."""
        return len(self._free) + len(self._kept)

    @property
    def num_kept(self) -> int:
        """How many blocks nobody holds that can still be shared."""
        return len(self._kept)

    def num_needed(self, length: int) -> int:
        """Give how many blocks so many tokens take."""
        return -(-length // self.block_size)

    def begin(self, holder: Holder, *, num_spare: int = 0, may_share: bool = True) -> bool:
        """Let one that holds nothing share what is known of its tokens; give blocks for the rest.

        Gives False, and nothing, where fewer than `num_spare` blocks would be free then.
        """
        match = self.match(holder.ids if may_share else (), holder.root)
        num_shared = len(match.blocks)
        num_new = self.num_needed(len(holder.ids)) - num_shared
        self.hold(match.blocks)
        if num_new + num_spare > self.num_free:
            self.release(match.blocks)
            return False
        holder.blocks = [*match.blocks, *self.allocate(num_new)]
        holder.content, holder.num_published = match.content, num_shared
        holder.num_held = num_shared * self.block_size
        return True

    def make_room(self, holder: Holder, length: int) -> bool:
        """Give blocks for so many tokens, unless too few are free."""
        num_new = self.num_needed(length) - len(holder.blocks)
        if num_new > self.num_free:
            return False
        if num_new > 0:
            holder.blocks += self.allocate(num_new)
        return True

    def note(self, holder: Holder) -> None:
        """Publish the blocks that have become full."""
        size = self.block_size
        for number in range(holder.num_published, holder.num_held // size):
            tokens = holder.ids[number * size : (number + 1) * size]
            holder.content = self.publish(holder.blocks[number], holder.content, tokens)
            holder.num_published += 1

    def compact(self, holders: Iterable[Holder]) -> None:
        """Do nothing: rows of a pass lie wherever their blocks do."""

    def allocate(self, number: int) -> list[int]:
        """Hand out blocks that nobody else holds. The caller has seen that `num_free` suffices."""
        return [self._allocate() for _ in range(number)]

    def match(self, tokens: Sequence[int], root: int = ROOT) -> Match:
        """Say which blocks hold the beginning of these tokens; nobody holds them for it.

        `root` stands before the first of them: what begins at another root is never shared.

        The last token is never among them: something must be left to run.
        """
        blocks: list[int] = []
        content = root
        size = self.block_size
        for end in range(size, len(tokens), size):
            found = self._block_of.get(_Published(content, tuple(tokens[end - size : end])))
            if found is None:
                break
            block, content = found
            blocks.append(block)
        return Match(blocks, content)

    def hold(self, blocks: Iterable[int]) -> None:
        """Share blocks of a match."""
        for block in blocks:
            self._kept.pop(block, None)
            self._holders[block] += 1

    def publish(self, block: int, parent: int, tokens: Sequence[int]) -> int:
        """Let a full block be found; give the content that its end stands for.

        Where another block holds the same, that one is found as before.
        """
        if not self.is_shared:
            return parent
        entry = _Published(parent, tuple(tokens))
        found = self._block_of.get(entry)
        if found is not None:
            return found[1]
        self._last_content += 1
        self._block_of[entry] = (block, self._last_content)
        self._published[block] = entry
        return self._last_content

    def release(self, blocks: Sequence[int]) -> None:
        """Give blocks of one sequence back, in their order: what stands last goes first."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if self._holders[block]:
                continue
            if block in self._published:
                self._kept[block] = None
            else:
                heapq.heappush(self._free, block)

    def forget(self, blocks: Iterable[int]) -> list[int]:
        """Let nobody find held blocks any more; give those that have but one holder."""
        blocks = list(blocks)
        for block in blocks:
            self._unpublish(block)
        return [block for block in blocks if self._holders[block] == 1]

    def _allocate(self) -> int:
        if self._free:
            block = heapq.heappop(self._free)
        else:
            block, _ = self._kept.popitem(last=False)
            self._unpublish(block)
        self._holders[block] = 1
        return block

    def _unpublish(self, block: int) -> None:
        entry = self._published.pop(block, None)
        if entry is not None:
            del self._block_of[entry]

    def check(self, held: Iterable[Sequence[int]]) -> None:
        """Assert the invariants, `held` being the blocks of each sequence that holds any.

        Each block is free, kept or held, and one alone of these; holders are counted rightly; what
        can be found is kept or held.
        """
        counts = [0] * self.num_blocks
        for blocks in held:
            for block in blocks:
                counts[block] += 1
        assert counts == self._holders, repr(self)
        in_use = {block for block, count in enumerate(counts) if count}
        places = [*self._free, *self._kept, *in_use]
        assert sorted(places) == list(range(self.num_blocks)), repr(self)
        assert set(self._published).isdisjoint(self._free), repr(self)
        assert {block: entry for entry, (block, _) in self._block_of.items()} == self._published

    def __repr__(self) -> str:
        """Say how many are used, kept and free."""
        num_held = self.num_blocks - self.num_free
        return (
            f"<BlockPool {num_held} of {self.num_blocks} blocks of {self.block_size} held, "
            f"{len(self._kept)} kept>"
        )
