"""Checkpoint: a folder as transformers saves it, opened as a model on a device. Knows no serving.

Weights are data: safetensors alone, and no code from the folder is ever run.
"""

from __future__ import annotations

import inspect
from pathlib import Path
from typing import Any, cast

import torch
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig
from transformers.utils import logging as transformers_logging

from torchloom.errors import ModelLoadError
from torchloom_models.hardware import DtypeName, dtype_of
from torchloom_models.llm import attention
from torchloom_models.weights import LOAD_ERRORS, check_folder, digest_of_folder


class Checkpoint:
    """A folder with `config.json`, `*.safetensors` and, mostly, `generation_config.json`.

    Raises ModelLoadError, when it is made or loaded, for whatever is missing or broken.
    """

    def __init__(self, folder: Path) -> None:
        check_folder(folder)
        transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
        transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # theirs
        self.folder = folder
        try:
            self._config: PreTrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except LOAD_ERRORS as error:
            raise self._error("its configuration could not be read", error) from error
        if self._config.is_encoder_decoder:
            raise self._error("it is an encoder with a decoder, not a causal language model")

    @property
    def max_length(self) -> int | None:
        """The longest sequence that the model was made for; None where its file does not say."""
        text = self._config.get_text_config()
        length: int | None = getattr(text, "max_position_embeddings", None)
        return length

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model gives for a token."""
        size: int = self._config.get_text_config().vocab_size
        return size

    @property
    def digest(self) -> str:
        """A digest of all that shapes the model's code."""
        return digest_of_folder(self.folder)

    def dtype(self, name: DtypeName, place: str) -> torch.dtype:
        """Give the dtype called `name`. `auto` is that of the weights, if the device is fast in it.

        On a CPU bfloat16 stays bfloat16 where the processor multiplies it; all else is float32.
        """
        stored = cast("torch.dtype | None", self._config.dtype)
        if name == "auto" and place == "cpu" and stored == torch.bfloat16:
            is_fast: bool = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - no other way
            return torch.bfloat16 if is_fast else torch.float32
        return dtype_of(name, place=place, stored=stored)

    def load_model(self, dtype: torch.dtype, place: str) -> PreTrainedModel:
        """Load the weights; all of them must be there and fit."""
        attention.register()
        options: dict[str, Any] = {
            "config": self._config,
            "dtype": dtype,
            "device_map": {"": place},
            "use_safetensors": True,
            "trust_remote_code": False,
            "local_files_only": True,
            "attn_implementation": attention.IMPLEMENTATION,
        }
        try:
            loaded = AutoModelForCausalLM.from_pretrained(
                self.folder, output_loading_info=True, **options
            )
        except LOAD_ERRORS as error:
            raise self._error("its weights could not be loaded", error) from error
        model, info = cast("tuple[PreTrainedModel, dict[str, set[str]]]", loaded)
        missing = sorted(info["missing_keys"])
        if missing:
            raise self._error(f"{len(missing)} weights are missing, {missing[0]!r} among them")
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise self._error(f"{type(model).__name__} takes no positions, which batching needs")
        # from_pretrained leaves it in eval mode.
        model.requires_grad_(requires_grad=False)
        return model

    def load_generation(self) -> GenerationConfig:
        """Give the generation settings that come with the model, or what its configuration says."""
        try:
            return GenerationConfig.from_pretrained(self.folder, local_files_only=True)
        except OSError:
            return GenerationConfig.from_model_config(self._config)

    def _error(self, what: str, cause: Exception | None = None) -> ModelLoadError:
        reason = f": {cause}" if cause is not None else "."
        return ModelLoadError(f"The model in {str(self.folder)!r} cannot be served: {what}{reason}")
