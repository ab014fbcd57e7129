"""Text batches: tokenised texts of several tasks, packed into passes of little padding.

Pure: knows no tensor and no model.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from torchloom_models.buckets import bucket_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """One forward pass: which texts, by place in the batch, and the length they are padded to."""

    places: tuple[int, ...]
    length: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Packing:
    """How texts are packed.

    A pass holds `max_tokens` tokens at most, padding included (or one text that is longer). Lengths
    are rounded up to `lengths`, which ascend. A pass is cut where the next text is so much shorter
    that padding it would cost more than a pass of its own: `pass_tokens` says what a pass costs.
    """

    lengths: Sequence[int]
    max_tokens: int
    max_rows: int
    pass_tokens: int = 32

    def pack(self, sizes: Sequence[int]) -> Iterator[Pass]:
        """Give passes that hold each text once, longest first. `sizes` are numbers of tokens."""
        places: list[int] = []
        length = padding = 0
        for place in sorted(range(len(sizes)), key=sizes.__getitem__, reverse=True):
            wanted = self._rounded(sizes[place])
            padding += length - wanted
            is_full = (len(places) + 1) * length > self.max_tokens or len(places) == self.max_rows
            if places and (is_full or padding > self.pass_tokens):
                yield Pass(places=tuple(places), length=length)
                places = []
            if not places:
                length, padding = wanted, 0
            places.append(place)
        if places:
            yield Pass(places=tuple(places), length=length)

    def _rounded(self, size: int) -> int:
        return bucket_of(size, self.lengths)
