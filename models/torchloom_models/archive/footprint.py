"""Footprint: what a handler holds on its device. Imports torch only for a device of torch's.

Handlers on the CPU may do without it: its import costs each worker seconds, and 200 MB.
"""

from __future__ import annotations


def held_bytes(device: str) -> int:
    """Give what torch holds on a CUDA device; 0 elsewhere: the process's growth counts."""
    if not device.startswith("cuda"):
        return 0
    from torchloom_models.hardware import reserved_bytes  # noqa: PLC0415 - costs seconds: torch

    return reserved_bytes(device)
