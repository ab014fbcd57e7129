"""PipelineFolder: a folder as diffusers saves a pipeline, and its components, one by one.

Weights are data: safetensors alone, and no code from the folder is ever run. Knows no family.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import diffusers
import torch
import transformers
from diffusers.utils import logging as diffusers_logging
from torch import nn
from transformers.utils import logging as transformers_logging

from torchloom.errors import ModelLoadError
from torchloom_models.artefact import digest_of_text
from torchloom_models.weights import (
    LOAD_ERRORS,
    check_folder,
    digest_of_folder,
    find_weights,
    read_header,
    read_json,
)


_TOKENIZERS = (
    "CLIPTokenizer",
    "CLIPTokenizerFast",
    "PreTrainedTokenizerFast",
    "T5Tokenizer",
    "T5TokenizerFast",
    "TokenizersBackend",
)

_DTYPES = {"F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}

_INDEX = "model_index.json"

_VARIANT = re.compile(r"(model|diffusion_pytorch_model)\.(?P<variant>[a-z]\w*)\.safetensors")


class PipelineFolder:
    """A folder with `model_index.json` and a folder for each component.

    Raises ModelLoadError that names the component, for whatever is missing or broken.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._components = _read_index(path)
        self.pipeline = str(self._components.get("_class_name"))
        for library in (diffusers_logging, transformers_logging):
            cast("Any", library).disable_progress_bar()
            cast("Any", library).set_verbosity_error()

    @property
    def digest(self) -> str:
        """A digest of all that shapes the networks' code: diffusers is a part of it."""
        return digest_of_text(digest_of_folder(self.path), diffusers.__version__)

    @property
    def scheduler_class(self) -> str:
        """The class of the folder's scheduler."""
        entry = self._components.get("scheduler")
        return str(entry[1]) if isinstance(entry, list) and len(entry) == 2 else ""  # noqa: PLR2004 - a pair

    @property
    def scheduler_config(self) -> Mapping[str, object]:
        """What the folder's scheduler is configured with."""
        return read_json(self.path / "scheduler" / "scheduler_config.json")

    def option(self, name: str, *, default: object) -> object:
        """Give what the pipeline itself is configured with."""
        return self._components.get(name, default)

    def has(self, name: str) -> bool:
        """Say whether the pipeline has a component; optional ones are null in the index."""
        entry = self._components.get(name)
        return isinstance(entry, list | tuple) and len(entry) == 2 and bool(entry[1])  # noqa: PLR2004 - a pair

    def stored_dtype(self, name: str) -> torch.dtype | None:
        """Give the dtype of the largest tensor of a component; None for one that is not usual."""
        entries = [
            cast("Mapping[str, Any]", entry)
            for file in self._weights(name)
            for key, entry in read_header(file).items()
            if key != "__metadata__"
        ]
        largest = max(
            entries, key=lambda entry: entry["data_offsets"][1] - entry["data_offsets"][0]
        )
        return _DTYPES.get(largest["dtype"])

    def load_network(
        self, name: str, classes: Sequence[str], *, dtype: torch.dtype, place: str
    ) -> nn.Module:
        """Load a component whose class is one of `classes`, on `place`, in eval mode."""
        class_name, library = self._class_of(name, classes)
        variant = _variant_of(self._weights(name))
        try:
            loaded = getattr(library, class_name).from_pretrained(
                self.path / name,
                torch_dtype=dtype,
                variant=variant,
                use_safetensors=True,
                local_files_only=True,
                output_loading_info=True,
            )
            network, info = cast("tuple[nn.Module, Mapping[str, Sequence[str]]]", loaded)
            missing = sorted(info["missing_keys"])
            if not missing:
                return network.to(place).eval().requires_grad_(requires_grad=False)
        except LOAD_ERRORS as error:
            raise self._error(name, f"it could not be loaded: {error}") from error
        message = f"{len(missing)} of its weights are missing, {missing[0]!r} among them."
        raise self._error(name, message)

    def load_tokenizer(self, name: str) -> Any:
        """Load a tokenizer."""
        class_name, library = self._class_of(name, _TOKENIZERS)
        if not (self.path / name).is_dir():
            raise self._error(name, "there is no such folder.")
        try:
            return getattr(library, class_name).from_pretrained(
                self.path / name, local_files_only=True
            )
        except LOAD_ERRORS as error:
            raise self._error(name, f"it could not be loaded: {error}") from error

    def _class_of(self, name: str, classes: Sequence[str]) -> tuple[str, Any]:
        if not self.has(name):
            raise self._error(name, f"{_INDEX} does not name it.")
        library, class_name = cast("Sequence[str]", self._components[name])
        if class_name not in classes or library not in ("diffusers", "transformers"):
            message = f"it is a {library}.{class_name}; served are: {', '.join(classes)}."
            raise self._error(name, message)
        return class_name, diffusers if library == "diffusers" else transformers

    def _weights(self, name: str) -> Sequence[Path]:
        try:
            check_folder(self.path / name)
            return find_weights(self.path / name)
        except ModelLoadError as error:
            raise self._error(name, error.message) from error

    def _error(self, name: str, what: str) -> ModelLoadError:
        message = f"Component {name!r} of the {self.pipeline} in {str(self.path)!r}: {what}"
        return ModelLoadError(message)


def _read_index(path: Path) -> Mapping[str, object]:
    try:
        index = json.loads((path / _INDEX).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        message = (
            f"{str(path)!r} is no pipeline: it has no {_INDEX} that can be read. A folder is laid "
            f"out as `save_pretrained` of diffusers writes it. ({error})"
        )
        raise ModelLoadError(message) from error
    if not isinstance(index, dict) or not isinstance(index.get("_class_name"), str):
        raise ModelLoadError(f"{str(path / _INDEX)!r} names no pipeline class.")
    return index


def _variant_of(files: Sequence[Path]) -> str | None:
    """Give the variant of weights that come in no other: "fp16" for `model.fp16.safetensors`."""
    variants = {match["variant"] for file in files if (match := _VARIANT.fullmatch(file.name))}
    plain = any(_VARIANT.fullmatch(file.name) is None for file in files)
    return None if plain or not variants else min(variants)
