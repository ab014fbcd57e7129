"""The TorchScript runtime: what torch.jit.save has written."""

from __future__ import annotations

import importlib
import warnings
from typing import Final, cast

import torch

from torchloom.errors import ModelLoadError
from torchloom_models.archive.runtime.table import Weights


#: Registers the operators of scripts that TensorRT runs, which say its name where they are missing.
_TENSORRT: Final = "torch_tensorrt"


def _load(file: str, device: str) -> torch.jit.ScriptModule:
    try:
        return _read(file, device)
    except RuntimeError as error:
        if "tensorrt" not in str(error):
            raise
    try:
        importlib.import_module(_TENSORRT)
    except ImportError as error:
        message = f"The script is TensorRT's: install {_TENSORRT} in the server's environment."
        raise ModelLoadError(message) from error
    return _read(file, device)


def _read(file: str, device: str) -> torch.jit.ScriptModule:
    loaded = torch.jit.load(file, map_location=device)  # type: ignore[no-untyped-call]  # it has none
    return cast("torch.jit.ScriptModule", loaded.eval())


def open_weights(weights: Weights) -> object:
    """Open a script. A pickle in its place is refused, and nothing of it runs."""
    assert weights.file is not None
    try:
        with warnings.catch_warnings():
            # torch tells everybody to export instead; whoever has scripts today means them.
            warnings.simplefilter("ignore", DeprecationWarning)
            return _load(str(weights.file), weights.device)
    except (RuntimeError, ValueError, OSError) as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        message = (
            f"{weights.file.name!r} is no TorchScript: {reason}. A state_dict needs its class: "
            "name its file as --model-file when the archive is made."
        )
        raise ModelLoadError(message) from error
