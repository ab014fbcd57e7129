"""`ts.utils.util`."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from enum import StrEnum
from functools import wraps
from pathlib import Path
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar

import yaml

from torchloom_models.archive.compile_config import BACKENDS
from torchloom_models.archive.label import load_label_mapping, map_class_to_label
from torchloom_models.archive.own_classes import own_classes
from torchloom_models.archive.prediction_exception import PredictionException


P = ParamSpec("P")
R = TypeVar("R")

__all__ = [
    "CLEANUP_REGEX",
    "PT2Backend",
    "PredictionException",
    "check_valid_pt2_backend",
    "deprecated",
    "get_yaml_config",
    "list_classes_from_module",
    "load_compiler_config",
    "load_label_mapping",
    "map_class_to_label",
]


#: Tags of HTML, and what stands for a character there.
CLEANUP_REGEX: Final = re.compile(r"<[^>\n]*>|&(?:[a-z0-9]+|#x?[0-9a-f]{1,6});")


class PT2Backend(StrEnum):
    """The backends that `pt2` may name; each is equal to its text."""

    EAGER = "eager"
    AOT_EAGER = "aot_eager"
    INDUCTOR = "inductor"
    NVFUSER = "nvfuser"
    AOT_NVFUSER = "aot_nvfuser"
    AOT_CUDAGRAPHS = "aot_cudagraphs"
    OFI = "ofi"
    FX2TRT = "fx2trt"
    ONNXRT = "onnxrt"
    IPEX = "ipex"
    TORCHXLA_TRACE_ONCE = "torchxla_trace_once"
    OPENVINO = "openvino"
    TENSORRT = "tensorrt"
    HPU_BACKEND = "hpu_backend"


def get_yaml_config(yaml_file_path: str | Path) -> dict[str, Any]:
    """Read a configuration; an empty one is a mapping without keys."""
    with Path(yaml_file_path).open(encoding="utf-8") as file:
        return yaml.safe_load(file) or {}


def list_classes_from_module(module: ModuleType, parent_class: type | None = None) -> list[type]:
    """Give the classes that are defined in a module, or those of them below `parent_class`."""
    classes = own_classes(module)
    return [each for each in classes if parent_class is None or issubclass(each, parent_class)]


def load_compiler_config(config: dict[str, object]) -> object:
    """Give the section `pt2` of a configuration, or None."""
    return config.get("pt2")


def check_valid_pt2_backend(backend: str) -> bool:
    """Tell whether `pt2` may name a backend."""
    return backend in BACKENDS


def deprecated(
    version: str, replacement: str = "", klass: type[Warning] = PendingDeprecationWarning
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Mark a function that goes with a version: each call warns of it."""

    def mark(func: Callable[P, R]) -> Callable[P, R]:
        @wraps(func)
        def marked(*args: P.args, **kwargs: P.kwargs) -> R:
            instead = f" Use {replacement}." if replacement else ""
            warnings.warn(
                f"{func.__name__} is deprecated in {version}.{instead}", klass, stacklevel=2
            )
            return func(*args, **kwargs)

        return marked

    return mark
