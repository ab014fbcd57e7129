"""Scheduler: which sequences wait, which run, and who is next. It decides, and runs nothing."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import NamedTuple

from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.slot import SlotTable


#: Prompts run together take this many times their own tokens at most, padded to the longest.
_MAX_PADDING = 1.5


class Move(NamedTuple):
    """A sequence that goes from one slot to another."""

    sequence: Sequence
    source: int
    target: int


class Scheduler:
    """Two lists: sequences wait in the order of their coming, and run from their prefill on.

    A sequence has a slot exactly while it runs. `bucket_of_rows` gives the padded number of rows
    that a pass over single tokens is run with.
    """

    def __init__(
        self,
        *,
        num_slots: int,
        bucket_of_rows: Callable[[int], int],
    ) -> None:
        self._slots = SlotTable(num_slots)
        self._bucket_of_rows = bucket_of_rows
        self._waiting: deque[Sequence] = deque()
        self._running: list[Sequence] = []
        self._was_prefill = False

    @property
    def num_slots(self) -> int:
        """How many sequences can run at once."""
        return self._slots.num_slots

    @property
    def num_rows(self) -> int:
        """How many rows of the cache a pass over all that run must cover."""
        return self._slots.num_rows

    def add(self, sequence: Sequence) -> None:
        """Let a sequence wait for its prefill."""
        self._waiting.append(sequence)

    def remove(self, sequence: Sequence) -> None:
        """Forget a sequence, wherever it stands; its slot is free at once."""
        if sequence.slot is None:
            self._waiting.remove(sequence)
            return
        self._running.remove(sequence)
        self._slots.release(sequence.slot)
        sequence.slot = None

    def next_prefill(self, max_tokens: int) -> list[Sequence]:
        """Start the prompts that go next, together; they hold slots from now on.

        Those are the ones that wait longest, as long as all of them padded to one length stay
        within `max_tokens` and are not mostly padding; the first goes whatever its length, or it
        would wait for ever. Empty when nothing can go, or when it is the running sequences' turn.
        """
        if self._running and self._was_prefill:
            return []
        group: list[Sequence] = []
        longest = num_tokens = 0
        while self._waiting and self._slots.num_free:
            length = len(self._waiting[0].prompt)
            longest, num_tokens = max(longest, length), num_tokens + length
            num_padded = (len(group) + 1) * longest
            if group and num_padded > min(max_tokens, _MAX_PADDING * num_tokens):
                break
            sequence = self._waiting.popleft()
            sequence.slot = self._slots.allocate()
            group.append(sequence)
        self._running += group
        self._was_prefill = bool(group)
        return group

    def next_decode(self) -> list[Sequence]:
        """Give the sequences that write a token now: all that run."""
        self._was_prefill = False
        return list(self._running)

    def compact(self) -> list[Move]:
        """Move sequences to lower slots wherever that makes the pass smaller; say which moved.

        The caller copies what their slots hold, in this order, before the next pass.
        """
        moves: list[Move] = []
        while self._bucket_of_rows(len(self._running)) < self._bucket_of_rows(self.num_rows):
            highest = max(self._running, key=lambda sequence: sequence.slot or 0)
            source = highest.slot
            assert source is not None
            target = self._slots.allocate()
            self._slots.release(source)
            highest.slot = target
            moves.append(Move(highest, source, target))
        return moves

    def check(self) -> None:
        """Assert the invariant: slots are free or used, and used by exactly those that run."""
        self._slots.check()
        used = [sequence.slot for sequence in self._running]
        assert None not in used, repr(self)
        assert len(set(used)) == len(used) == self._slots.num_slots - self._slots.num_free
        assert all(sequence.slot is None for sequence in self._waiting), repr(self)

    def __repr__(self) -> str:
        """Say who waits and who runs."""
        return f"<Scheduler {len(self._waiting)} waiting, {len(self._running)} running>"
