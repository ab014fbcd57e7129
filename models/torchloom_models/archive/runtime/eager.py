"""The eager runtime: the one class of a model file, and a state_dict of plain tensors for it."""

from __future__ import annotations

import importlib
import inspect
import pickle
import sys
from pathlib import Path
from types import ModuleType

import torch
from torch import nn

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.runtime.table import Weights


def open_weights(weights: Weights) -> nn.Module:
    """Make an object of the class, without arguments, and load its weights."""
    assert weights.model_file is not None
    made = _make(weights.model_file)
    if weights.file is not None:
        made.load_state_dict(load_tensors(weights.file))
    return made.to(weights.device).eval()


def load_tensors(file: Path) -> dict[str, torch.Tensor]:
    """Read a state_dict. Nothing in it runs: what is no plain tensor is refused."""
    try:
        loaded = torch.load(file, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        message = (
            f"The weights {file.name!r} cannot be read as plain tensors: {error}. Save them with "
            "torch.save(model.state_dict(), …)."
        )
        raise ModelLoadError(message) from error
    if not isinstance(loaded, dict):
        message = f"The weights {file.name!r} are a {type(loaded).__name__}, not a state_dict."
        raise ModelLoadError(message)
    return loaded


def find_class(module: ModuleType, file: str) -> type:
    """Give the only class that is defined in a module. Raises InvalidModel."""
    classes = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__
    ]
    if len(classes) != 1:
        found = ", ".join(each.__name__ for each in classes) or "none"
        message = (
            f"Expected only one class as model definition: {file!r} has: {found}. Move others to "
            "files of their own."
        )
        raise InvalidModel(message)
    return classes[0]


def _make(file: Path) -> nn.Module:
    if not file.is_file():
        raise InvalidModel(f"The model file {file.name!r} is not in the archive.")
    if str(file.parent) not in sys.path:
        sys.path.insert(0, str(file.parent))
    made = find_class(importlib.import_module(file.stem), file.name)()
    if not isinstance(made, nn.Module):
        message = f"The class of {file.name!r} makes a {type(made).__name__}, no torch.nn.Module."
        raise InvalidModel(message)
    return made
