"""Row: series whose values come together, such as those of a prediction, found once for them all.

Knows no metric: it is told where each value goes.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from torchloom_api.torchserve.telemetry.measurement import Measured, Texts


class Row:
    """Takes values by their places. `shown` takes those for the page, `told` are for the logs."""

    __slots__ = ("_places", "_shown", "_texts")

    def __init__(
        self,
        shown: Sequence[tuple[int, Callable[[float], None]]],
        told: Sequence[tuple[int, Texts]],
    ) -> None:
        self._shown = shown
        self._places = [place for place, _ in told]
        self._texts = tuple(texts for _, texts in told)

    def take(self, values: Sequence[float]) -> Measured | None:
        """Take a value for each place, and give what the logs are to have of them, if anything."""
        for place, observe in self._shown:
            observe(values[place])
        if len(self._texts) == len(values):
            return self._texts, values
        return (self._texts, [values[place] for place in self._places]) if self._texts else None
