"""Pace: how many rows of a size are worth a step together, learned from what steps took.

Where a larger step brings more rows a second, as on a GPU, all pictures are drawn together. Where
it does not, as on a few cores, those that came first are finished first: the last is done no later
for it, and the others sooner. Knows no network and no picture.
"""

from __future__ import annotations

from collections import defaultdict

from torchloom.step_cost import StepCost


#: A step is large enough when it reaches this share of the most rows a second that there could be.
_ENOUGH = 0.9


class Pace:
    """Learns what steps cost, by the height and width of their pictures."""

    def __init__(self) -> None:
        self._costs: defaultdict[tuple[int, int], StepCost] = defaultdict(StepCost)

    def observe(self, size: tuple[int, int], num_rows: int, seconds: float) -> None:
        """Take a finished step into account."""
        self._costs[size].observe(num_rows, seconds)

    def enough(self, size: tuple[int, int], num_rows: int) -> int:
        """Say how many of the rows that could go should go; all as long as too little is known."""
        return self._costs[size].enough(num_rows, share=_ENOUGH)
