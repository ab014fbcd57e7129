"""The command line: `torchloom`. Owns words, colours and exit codes; knows no scheduling.

Commands import torch never, or only when they start a server or build an index.
"""

from __future__ import annotations

from torchloom_api.cli.program import main


__all__ = ["main"]
