"""Traffic: which version of a name the next request goes to. Knows nothing of what a version is."""

from __future__ import annotations

import math
from collections.abc import Mapping


class Traffic:
    """A weighted split by smooth weighted round robin: each version gets its share, without bursts.

    Every pick raises each version's credit by its weight, takes the highest, and lowers that one by
    the sum of the weights.
    """

    def __init__(self, weights: Mapping[int, float]) -> None:
        total = sum(weights.values())
        if not (0 < total < math.inf and min(weights.values()) >= 0):
            raise ValueError("A split needs weights of at least 0, one of them above 0.")
        self.weights = dict(weights)
        self._credits = dict.fromkeys(weights, 0.0)

    def pick(self) -> int:
        """Give the version for the next request."""
        if len(self.weights) == 1:
            return next(iter(self.weights))
        for version, weight in self.weights.items():
            self._credits[version] += weight
        chosen = max(self._credits, key=lambda version: self._credits[version])
        self._credits[chosen] -= sum(self.weights.values())
        return chosen
