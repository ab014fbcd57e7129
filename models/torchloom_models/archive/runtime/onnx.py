"""The ONNX runtime: an InferenceSession of onnxruntime, which is installed where it is wanted."""

from __future__ import annotations

import importlib

from torchloom.errors import ModelLoadError
from torchloom_models.archive.runtime.table import Weights


def open_weights(weights: Weights) -> object:
    """Open a session: on CUDA where the device is one and onnxruntime has it, else on the CPU."""
    assert weights.file is not None
    try:
        onnxruntime = importlib.import_module("onnxruntime")
    except ImportError as error:
        message = (
            f"{weights.file.name!r} needs onnxruntime, which is not installed here. Install it "
            "(pip install onnxruntime), or export the model with torch.export."
        )
        raise ModelLoadError(message) from error
    wanted = ["CUDAExecutionProvider"] if weights.device.startswith("cuda") else []
    there = onnxruntime.get_available_providers()
    providers = [each for each in [*wanted, "CPUExecutionProvider"] if each in there]
    try:
        return onnxruntime.InferenceSession(str(weights.file), providers=providers)
    except Exception as error:
        message = f"onnxruntime cannot open {weights.file.name!r}: {error}"
        raise ModelLoadError(message) from error
