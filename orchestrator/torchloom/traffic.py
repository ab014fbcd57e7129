"""Traffic: which version of a name the next request goes to, and which is given a copy of it.

Knows nothing of what a version is.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass


_ALL_PERCENT = 100.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Shadow:
    """A version that is given copies of the requests that others answer, and how many of them."""

    version: int
    percent: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Pair:
    """A name one of whose calls two versions are given; only the one that served is heard."""

    name: str
    served: int
    shadow: int


class Traffic:
    """A weighted split by smooth weighted round robin: each version gets its share, without bursts.

    Every pick raises each version's credit by its weight, takes the highest, and lowers that one by
    the sum of the weights. Copies for a `shadow` are spread in the same way.
    """

    def __init__(self, weights: Mapping[int, float], shadow: Shadow | None = None) -> None:
        total = sum(weights.values())
        if not (0 < total < math.inf and min(weights.values()) >= 0):
            raise ValueError("A split needs weights of at least 0, one of them above 0.")
        if shadow is not None:
            _check(shadow, weights)
        self.weights = dict(weights)
        self.shadow = shadow
        self._copy_credit = 0.0
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

    def pick_shadow(self, version: int) -> int | None:
        """Give the version that gets a copy of the next request, which `version` answers, if any.

        Nobody gets copies of what it answers itself.
        """
        if self.shadow is None or self.shadow.version == version:
            return None
        self._copy_credit += self.shadow.percent
        if self._copy_credit < _ALL_PERCENT:
            return None
        self._copy_credit -= _ALL_PERCENT
        return self.shadow.version


def _check(shadow: Shadow, weights: Mapping[int, float]) -> None:
    if not 0 < shadow.percent <= _ALL_PERCENT:
        raise ValueError("A shadow needs a `percent` above 0, and of 100 at most.")
    if weights.get(shadow.version):
        message = (
            f"Version {shadow.version} cannot be the shadow, for it answers requests itself: give "
            "it no weight."
        )
        raise ValueError(message)
