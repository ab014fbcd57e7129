"""`ts.utils.util`."""

from __future__ import annotations

import inspect
from types import ModuleType

from torchloom_models.archive.compile_config import BACKENDS
from torchloom_models.archive.label import load_label_mapping, map_class_to_label
from torchloom_models.archive.prediction_exception import PredictionException


__all__ = [
    "PredictionException",
    "check_valid_pt2_backend",
    "list_classes_from_module",
    "load_compiler_config",
    "load_label_mapping",
    "map_class_to_label",
]


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """Give the classes that are defined in a module, or those of them below `parent_class`."""
    classes = [
        each
        for _, each in inspect.getmembers(module, inspect.isclass)
        if each.__module__ == module.__name__
    ]
    return [each for each in classes if parent_class is None or issubclass(each, parent_class)]


def load_compiler_config(config: dict[str, object]) -> object:
    """Give the section `pt2` of a configuration, or None."""
    return config.get("pt2")


def check_valid_pt2_backend(backend: str) -> bool:
    """Tell whether `pt2` may name a backend."""
    return backend in BACKENDS
