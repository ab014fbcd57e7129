"""The AOTInductor runtime: native code, as a package (`.pt2`) or a bare library (`.so`)."""

from __future__ import annotations

import torch
from torch._export import aot_load
from torch._inductor import aoti_load_package

from torchloom.errors import ModelLoadError
from torchloom_models.archive.runtime.table import Weights


def open_weights(weights: Weights) -> object:
    """Load the code onto the device that it was made for. Raises ModelLoadError."""
    assert weights.file is not None
    try:
        if weights.file.suffix == ".so":
            return aot_load(str(weights.file), weights.device)
        return aoti_load_package(str(weights.file))
    except (RuntimeError, OSError, ValueError) as error:
        message = (
            f"{weights.file.name!r} is no code of AOTInductor for {weights.device!r}, or was "
            f"made by another torch: {error}. Compile it again with torch {torch.__version__}."
        )
        raise ModelLoadError(message) from error
