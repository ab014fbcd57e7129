"""The order in which the server begins."""

from __future__ import annotations

import subprocess
import sys


_IMPORT = """
import sys
import torchloom_api.torchserve.server
print(*sorted({"litestar", "grpc", "torch"} & set(sys.modules)))
"""


def test_starts_workers_before_the_web_frameworks_are_imported() -> None:
    """What answers on the ports is imported while workers load: see ports.py."""
    command = [sys.executable, "-c", _IMPORT]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"
