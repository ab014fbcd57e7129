"""importlib mode puts no folder on the path: `families` lies beside this file."""

from __future__ import annotations

import sys
from pathlib import Path


sys.path.insert(0, str(Path(__file__).parent))
