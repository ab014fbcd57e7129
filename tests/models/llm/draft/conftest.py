"""What the tests of draft models share with those of the engine."""

from __future__ import annotations

import sys
from pathlib import Path


# importlib mode puts no folder on the path: `tiny_model` lies one above.
sys.path.insert(0, str(Path(__file__).parents[1]))
