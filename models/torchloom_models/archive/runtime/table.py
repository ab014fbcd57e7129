"""The table of runtimes: which of them opens an archive's weights, by what it says of them.

Imports none of them: each is loaded when it is needed.
"""

from __future__ import annotations

import importlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Protocol, cast

from torchloom.errors import InvalidModel


RuntimeName = Literal["eager", "torchscript", "exported", "aoti", "onnx"]

#: Files that tell by their ending alone.
_BY_ENDING: Final[Mapping[str, RuntimeName]] = {
    ".pt2": "exported",
    ".so": "aoti",
    ".onnx": "onnx",
    ".pt": "torchscript",
    ".pth": "torchscript",
    ".ts": "torchscript",
    ".ptc": "torchscript",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Weights:
    """What there is to open. `model_file` holds the class whose `file` is a state_dict."""

    folder: Path
    file: Path | None
    model_file: Path | None = None
    device: str = "cpu"
    is_exported: bool = False


class OpenWeights(Protocol):
    """Opens one form of weights."""

    def __call__(self, weights: Weights) -> object:
        """Give a model that can be called. Raises ModelLoadError and InvalidModel."""
        ...


def name_runtime(weights: Weights) -> RuntimeName:
    """Tell which runtime opens the weights. Raises InvalidModel where none does."""
    if weights.model_file is not None:
        return "eager"
    if weights.file is None:
        message = "The archive's manifest names neither a serialized file nor a model file."
        raise InvalidModel(message)
    ending = weights.file.suffix
    if ending == ".pt2" and weights.is_exported:
        return "aoti"
    if ending not in _BY_ENDING:
        known = ", ".join(_BY_ENDING)
        message = (
            f"The weights {weights.file.name!r} have no runtime: there is one for {known}, and for "
            "a state_dict beside a model file (torch-model-archiver --model-file)."
        )
        raise InvalidModel(message)
    return _BY_ENDING[ending]


def open_weights(name: RuntimeName, weights: Weights) -> object:
    """Open the weights with a runtime. Raises ModelLoadError and InvalidModel."""
    module = importlib.import_module(f"torchloom_models.archive.runtime.{name}")
    return cast("OpenWeights", module.open_weights)(weights)
