"""StepCost: what a step costs by its batch size, learned from measured steps. Knows no queue.

Least squares of seconds = fixed + per_task · n, over steps that fade with age.
"""

from __future__ import annotations


#: Share of the old evidence that each new step leaves standing.
_FADE = 0.98

#: A batch is large enough when it reaches this share of the best possible throughput.
_ENOUGH = 0.95


class StepCost:
    """Learns `fixed_s` and `per_task_s`; both None until two sizes have been seen."""

    def __init__(self) -> None:
        self._weight = 0.0
        self._n = 0.0
        self._s = 0.0
        self._nn = 0.0
        self._ns = 0.0

    def observe(self, size: int, seconds: float) -> None:
        """Take a finished step into account."""
        self._weight = self._weight * _FADE + 1.0
        self._n = self._n * _FADE + size
        self._s = self._s * _FADE + seconds
        self._nn = self._nn * _FADE + size * size
        self._ns = self._ns * _FADE + size * seconds

    @property
    def mean_s(self) -> float:
        """Seconds of a step, on the average; 0 before the first."""
        return self._s / self._weight if self._weight else 0.0

    def line(self) -> tuple[float, float] | None:
        """Give (fixed_s, per_task_s), neither below 0; None if all the evidence is of one size."""
        spread = self._weight * self._nn - self._n * self._n
        if spread <= 1e-9 * max(self._weight * self._nn, 1e-9):
            return None
        slope = (self._weight * self._ns - self._n * self._s) / spread
        slope = max(slope, 0.0)
        return max((self._s - slope * self._n) / self._weight, 0.0), slope

    def expected_s(self, size: int) -> float:
        """Forecast the seconds of a step over so many tasks; 0 before the first step."""
        line = self.line()
        return line[0] + line[1] * size if line else self.mean_s

    def enough(self, limit: int) -> int:
        """Give the smallest batch that reaches 95 % of the best throughput, at most `limit`."""
        line = self.line()
        if line is None or line[1] <= 0.0:
            return limit
        fixed_s, per_task_s = line
        size = _ENOUGH / (1.0 - _ENOUGH) * fixed_s / per_task_s
        return max(1, min(limit, round(size)))
