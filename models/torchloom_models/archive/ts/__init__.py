"""What handlers import as `ts`: see `alias.py`. Names and spelling are TorchServe's own."""

from __future__ import annotations


#: The version of TorchServe whose handlers run here.
__version__ = "0.12.0"
