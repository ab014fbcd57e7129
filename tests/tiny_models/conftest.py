"""Put the repository's root on the path, so that `examples` can be imported from anywhere."""

from __future__ import annotations

import sys
from pathlib import Path


ROOT = Path(__file__).parents[2]

if str(ROOT) not in sys.path:
    sys.path.insert(0, str(ROOT))
