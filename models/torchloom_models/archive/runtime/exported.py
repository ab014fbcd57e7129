"""The runtime of exported programs: what torch.export.save has written."""

from __future__ import annotations

from torchloom_models.archive.runtime.table import Weights
from torchloom_models.program import load_program


def open_weights(weights: Weights) -> object:
    """Open a program. Raises ModelLoadError for one that holds pickles."""
    assert weights.file is not None
    return load_program(weights.file).module().to(weights.device)
