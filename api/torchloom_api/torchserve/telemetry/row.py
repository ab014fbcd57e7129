"""Row: series whose values come together, such as those of a prediction, found once for them all.

Knows no metric: it is told where each value goes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from torchloom_api.torchserve.telemetry.measurement import Measured, Texts


class Row:
    """Takes values by their places. `shown` takes those for the page, `told` are for the logs."""

    __slots__ = ("_heads", "_places", "_shown", "_tails")

    def __init__(
        self,
        shown: Sequence[tuple[int, Callable[[float], None]]],
        told: Sequence[tuple[int, Texts]],
    ) -> None:
        self._shown = shown
        self._places = [place for place, _ in told]
        self._heads = [head for _, (head, _) in told]
        self._tails = [tail for _, (_, tail) in told]

    def take(self, values: Sequence[float]) -> Iterable[Measured]:
        """Take a value for each place, and give those that the logs are to have."""
        for place, observe in self._shown:
            observe(values[place])
        if len(self._places) < len(values):
            values = [values[place] for place in self._places]
        return zip(self._heads, values, self._tails)  # noqa: B905 - a keyword takes as long again
