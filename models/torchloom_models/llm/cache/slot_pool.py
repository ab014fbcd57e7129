"""SlotPool: which slots of a cache are held, and what the others still hold of ended sequences.

A slot has room for a whole sequence, and lies where the sequence's row lies in a pass: so those
that are held are the lowest, and a beginning that is to be shared is copied, or its slot is taken
with it. Knows no tensors, no model and no sequences.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from torchloom_models.llm.adapter.adapter import NO_PLACE
from torchloom_models.llm.cache.block_pool import ROOT
from torchloom_models.llm.cache.pool import Holder, Move


#: Fewer tokens are run again: a prompt that has a beginning takes a slower pass than one without.
MIN_SHARED: Final = 32


class Kept(NamedTuple):
    """A slot that nobody holds, the first of the tokens it holds, and their adapter's place."""

    slot: int
    token: int
    place: int


@dataclass(slots=True, eq=False)
class _Content:
    """What a slot is known to hold: tokens after a root, and when it was last given back."""

    root: int = ROOT
    place: int = NO_PLACE
    tokens: list[int] = field(default_factory=list)
    released: int = 0

    def num_shared(self, tokens: Sequence[int], root: int) -> int:
        """Give how many of these tokens it begins with: 0 where they are too few."""
        start = self.tokens[:MIN_SHARED]
        if root != self.root or len(start) < MIN_SHARED or start != list(tokens[:MIN_SHARED]):
            return 0
        pairs = enumerate(zip(self.tokens, tokens, strict=False))
        different = (number for number, (own, other) in pairs if own != other)
        return next(different, min(len(self.tokens), len(tokens)))


class SlotPool:
    """Hands out slots, the lowest first, and takes them back.

    What a slot holds after its holder is gone stays until the room is needed: it moves out of the
    way to the slot whose own was given back least recently. `bucket_of_rows` gives the number of
    rows that a pass over so many of the lowest slots is run with.
    """

    def __init__(
        self,
        num_slots: int,
        *,
        bucket_of_rows: Callable[[int], int] = lambda num_rows: num_rows,
        is_shared: bool = True,
    ) -> None:
        self.num_blocks = num_slots
        #: Whether others may find what a slot holds; else each sequence is run whole.
        self.is_shared = is_shared
        self.moves: deque[Move] = deque()
        self._bucket_of_rows = bucket_of_rows
        self._free = set(range(num_slots))
        self._contents = [_Content() for _ in range(num_slots)]
        self._num_released = 0

    @property
    def num_free(self) -> int:
        """How many slots can be handed out, kept ones included."""
        return len(self._free)

    @property
    def num_kept(self) -> int:
        """How many slots nobody holds that can still be shared."""
        return sum(bool(self._contents[slot].tokens) for slot in self._free)

    def kept(self) -> list[Kept]:
        """Give the slots that nobody holds, and that are to stay as they are."""
        contents = ((slot, self._contents[slot]) for slot in sorted(self._free))
        return [Kept(slot, each.tokens[0], each.place) for slot, each in contents if each.tokens]

    def num_needed(self, length: int) -> int:
        """Give 1: a slot has room for any sequence."""
        del length
        return 1

    def begin(self, holder: Holder, *, num_spare: int = 0, may_share: bool = True) -> bool:
        """Give a slot to one that holds none, with as much of its beginning as any slot holds."""
        if len(self._free) <= num_spare:
            return False
        source, length = self._find(holder.ids[:-1] if may_share else (), holder.root)
        slot = self._take(source, length)
        self._contents[slot] = _Content(holder.root, holder.place, holder.ids[:length])
        self._free.remove(slot)
        holder.blocks, holder.num_held = [slot], length
        return True

    def make_room(self, holder: Holder, length: int) -> bool:
        """Do nothing: there is room."""
        del holder, length
        return True

    def note(self, holder: Holder) -> None:
        """Let others share what a holder holds by now."""
        if self.is_shared:
            tokens = self._contents[holder.blocks[0]].tokens
            tokens += holder.ids[len(tokens) : holder.num_held]

    def release(self, blocks: Sequence[int]) -> None:
        """Take the slot of one holder back; what it holds stays."""
        for slot in blocks:
            if len(self._contents[slot].tokens) < MIN_SHARED:
                self._contents[slot] = _Content()
            self._num_released += 1
            self._contents[slot].released = self._num_released
            self._free.add(slot)

    def forget(self, blocks: Iterable[int]) -> list[int]:
        """Let nobody find what held slots hold; give them all, for each has but one holder."""
        blocks = list(blocks)
        for slot in blocks:
            self._contents[slot] = _Content()
        return blocks

    def compact(self, holders: Iterable[Holder]) -> None:
        """Exchange the highest slots that are held for free lower ones, as far as that helps."""
        held = {holder.blocks[0]: holder for holder in holders}
        while held and self._bucket_of_rows(len(held)) < self._bucket_of_rows(1 + max(held)):
            source, target = max(held), min(self._free)
            holder = held[target] = held.pop(source)
            self._exchange(source, target, holder.num_held)
            self._free.remove(target)
            self._free.add(source)
            holder.blocks = [target]

    def _find(self, tokens: Sequence[int], root: int) -> tuple[int, int]:
        """Say which slot holds the most of a beginning, and how much: of equals, an old one."""
        lengths = [content.num_shared(tokens, root) for content in self._contents]

        def rank(slot: int) -> tuple[int, bool, int]:
            return lengths[slot], slot in self._free, -self._contents[slot].released

        source = max(range(self.num_blocks), key=rank)
        return source, lengths[source]

    def _take(self, source: int, length: int) -> int:
        """Give the lowest free slot, after the moves that bring a beginning into it.

        A free slot that holds the beginning is taken itself where that loses less of what is kept
        than a copy would: the copy costs what was given back least recently.
        """
        target = min(self._free)
        oldest = min(self._free, key=self._age)
        own, lost = (self._contents[slot].tokens for slot in (source, oldest))
        num_behind = len(own) - length
        is_cheap = source == oldest or num_behind <= min(length, len(lost))
        if length and source in self._free and is_cheap:
            del own[length:]
            self._exchange(source, target)
            return target
        self._contents[oldest] = _Content()
        self._exchange(target, oldest)
        if length and source != target:
            self.moves.append(Move(source, target, length))
        return target

    def _age(self, slot: int) -> tuple[bool, int]:
        content = self._contents[slot]
        return bool(content.tokens), content.released

    def _exchange(self, source: int, target: int, num_held: int | None = None) -> None:
        """Exchange what two slots hold; `num_held` is what the first holds, if that is more."""
        contents = self._contents
        length = len(contents[source].tokens) if num_held is None else num_held
        num_back = len(contents[target].tokens)
        contents[source], contents[target] = contents[target], contents[source]
        if source != target and (length or num_back):
            self.moves.append(Move(source, target, length, num_back))

    def check(self, held: Iterable[Sequence[int]]) -> None:
        """Assert the invariants, `held` being the slots of each that holds one.

        Each slot is free or held, by one alone; what can be found is long enough, unless its holder
        may add to it.
        """
        taken = [slot for slots in held for slot in slots]
        assert sorted([*taken, *self._free]) == list(range(self.num_blocks)), repr(self)
        for slot in self._free:
            num_tokens = len(self._contents[slot].tokens)
            assert not num_tokens or num_tokens >= MIN_SHARED, repr(self)
        assert self.is_shared or not any(each.tokens for each in self._contents), repr(self)

    def __repr__(self) -> str:
        """Say how many are used, kept and free."""
        num_held = self.num_blocks - self.num_free
        return f"<SlotPool {num_held} of {self.num_blocks} slots held, {self.num_kept} kept>"
