"""Checkpoint: a folder as transformers saves it, opened as a model on a device. Knows no serving.

Weights are data: safetensors alone, and no code from the folder is ever run.
"""

from __future__ import annotations

import inspect
import json
from collections.abc import Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from transformers import AutoConfig, AutoModelForCausalLM, GenerationConfig, PreTrainedModel
from transformers.configuration_utils import PreTrainedConfig

from torchloom.errors import ModelLoadError
from torchloom_models.artefact import digest_of_text
from torchloom_models.llm import attention


#: What opening a folder of unknown origin may raise, for good reasons.
_LOAD_ERRORS = (
    OSError,
    ValueError,
    KeyError,
    TypeError,
    AttributeError,
    ImportError,
    RuntimeError,
    SafetensorError,
)

#: Names of dtypes that users may write, besides `auto`.
_DTYPES: Mapping[str, torch.dtype] = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
}


class Checkpoint:
    """A folder with `config.json`, `*.safetensors` and, mostly, `generation_config.json`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            self._config: PreTrainedConfig = AutoConfig.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except _LOAD_ERRORS as error:
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
    def digest(self) -> str:
        """A digest of the configuration: models of equal digest have equal code and shapes."""
        values = {**self._config.to_dict(), "_name_or_path": None}
        return digest_of_text(json.dumps(values, sort_keys=True, default=str))

    @property
    def vocabulary_size(self) -> int:
        """How many logits the model gives for a token."""
        size: int = self._config.get_text_config().vocab_size
        return size

    def dtype(self, name: str, device: str) -> torch.dtype:
        """Give the dtype called `name`; `auto` is the checkpoint's own, or what is faster.

        On a CPU bfloat16 stays where the processor multiplies it; all else becomes float32.
        """
        if name != "auto":
            if name not in _DTYPES:
                known = ", ".join(("auto", *_DTYPES))
                raise self._error(f"the kind llm has no dtype {name!r}; it has {known}")
            return _DTYPES[name]
        stored = self._config.dtype
        if device != "cpu":
            return stored if isinstance(stored, torch.dtype) else torch.float32
        is_fast = torch.ops.mkldnn._is_mkldnn_bf16_supported()  # noqa: SLF001 - the one way to ask
        return torch.bfloat16 if stored == torch.bfloat16 and is_fast else torch.float32

    def load_model(self, dtype: torch.dtype, device: str) -> PreTrainedModel:
        """Load the weights. Raises ModelLoadError unless all of them are there and fit."""
        attention.register()
        try:
            model, info = AutoModelForCausalLM.from_pretrained(
                self.folder,
                config=self._config,
                dtype=dtype,
                device_map={"": device},
                use_safetensors=True,
                trust_remote_code=False,
                local_files_only=True,
                output_loading_info=True,
                attn_implementation=attention.IMPLEMENTATION,
            )
        except _LOAD_ERRORS as error:
            raise self._error("its weights could not be loaded", error) from error
        missing = sorted(info["missing_keys"])
        if missing:
            raise self._error(f"{len(missing)} weights are missing, {missing[0]!r} among them")
        if "position_ids" not in inspect.signature(model.forward).parameters:
            raise self._error(f"{type(model).__name__} takes no positions, which batching needs")
        loaded: PreTrainedModel = model.eval().requires_grad_(requires_grad=False)
        return loaded

    def load_generation(self) -> GenerationConfig:
        """Give the generation settings that come with the model, or what its configuration says."""
        try:
            return GenerationConfig.from_pretrained(self.folder, local_files_only=True)
        except OSError:
            return GenerationConfig.from_model_config(self._config)

    def _error(self, what: str, cause: Exception | None = None) -> ModelLoadError:
        reason = f": {cause}" if cause is not None else "."
        return ModelLoadError(f"The model in {str(self.folder)!r} cannot be served: {what}{reason}")
