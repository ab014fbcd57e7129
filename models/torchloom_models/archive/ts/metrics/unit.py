"""`ts.metrics.unit`."""

from __future__ import annotations

from torchloom_models.archive.metric import UNITS


class Units:
    """Names of units."""

    def __init__(self) -> None:
        self.units = dict(UNITS)


__all__ = ["Units"]
