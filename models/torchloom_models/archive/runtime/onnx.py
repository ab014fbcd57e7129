"""The ONNX runtime: an InferenceSession of onnxruntime, which is installed where it is wanted."""

from __future__ import annotations

import importlib
from typing import Any

import torch

from torchloom.errors import ModelLoadError
from torchloom_models.archive.runtime.table import Weights


class Session:
    """An InferenceSession that can also be called as a module is: tensors by position in and out.

    Whatever else handlers ask of it is the session's own: `run`, `get_inputs`.
    """

    def __init__(self, session: Any) -> None:
        self._session = session

    def __getattr__(self, name: str) -> Any:
        """Give what is the session's own."""
        return getattr(self._session, name)

    def __call__(self, *tensors: torch.Tensor) -> Any:
        """Give what it gives, as one tensor where that is one."""
        names = [each.name for each in self._session.get_inputs()]
        arrays = [each.detach().cpu().numpy() for each in tensors]
        given = self._session.run(None, dict(zip(names, arrays, strict=True)))
        found = [torch.from_numpy(each) for each in given]
        return found[0] if len(found) == 1 else tuple(found)


def open_weights(weights: Weights) -> Session:
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
        return Session(onnxruntime.InferenceSession(str(weights.file), providers=providers))
    except Exception as error:
        message = f"onnxruntime cannot open {weights.file.name!r}: {error}"
        raise ModelLoadError(message) from error
