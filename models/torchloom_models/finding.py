"""Finding: what was measured about a model on this machine, kept so that no start measures again.

Knows neither what the figures mean nor who made them.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from tempfile import NamedTemporaryFile


#: Figures by name.
Figures = Mapping[str, float]


class FindingStore:
    """A folder of findings, one file each; without a folder, nothing is kept."""

    def __init__(self, root: Path | None) -> None:
        self._root = root

    def find(self, digest: str) -> Figures | None:
        """Give the figures that were kept; None where there are none that can be read."""
        if self._root is None:
            return None
        with contextlib.suppress(OSError, ValueError, AttributeError, TypeError):
            text = (self._root / f"{digest}.json").read_text(encoding="utf-8")
            return {str(name): float(value) for name, value in json.loads(text).items()}
        return None

    def keep(self, digest: str, figures: Figures) -> None:
        """Keep figures from now on; a reader sees all of them or none."""
        if self._root is None:
            return
        self._root.mkdir(parents=True, exist_ok=True)
        with NamedTemporaryFile("w", encoding="utf-8", dir=self._root, delete=False) as file:
            json.dump(dict(figures), file)
        os.replace(file.name, self._root / f"{digest}.json")  # noqa: PTH105 - atomic, and says so
