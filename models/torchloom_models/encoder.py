"""Encoder: a transformers encoder with its pooling, as one module of tensors. Knows no text."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel, PreTrainedModel
from transformers.utils import logging as transformers_logging

from torchloom.errors import ModelLoadError
from torchloom_models.encoder_folder import DenseLayer, EncoderFolder
from torchloom_models.hardware import DtypeName, dtype_of
from torchloom_models.pooling import Pooling, PoolingMode
from torchloom_models.weights import LOAD_ERRORS, check_folder, find_weights


class Encoder(nn.Module):
    """Token ids to vectors: transformer, pooling, dense layers, normalisation."""

    def __init__(
        self, transformer: PreTrainedModel, layers: list[nn.Module], pooling: Pooling
    ) -> None:
        super().__init__()
        self.transformer = transformer
        self.pooling = pooling
        self.layers = nn.Sequential(*layers)

    @property
    def dtype(self) -> torch.dtype:
        """The dtype of the transformer's weights."""
        dtype: torch.dtype = self.transformer.dtype
        return dtype

    @property
    def max_positions(self) -> int | None:
        """The longest text that the transformer was made for; None where its file does not say."""
        positions: int | None = getattr(self.transformer.config, "max_position_embeddings", None)
        return positions

    def forward(self, ids: Tensor, mask: Tensor) -> Tensor:
        """Give float32 vectors [batch, dim] for ids and mask [batch, length], both int64."""
        hidden = self.transformer(input_ids=ids, attention_mask=mask)[0]
        vectors: Tensor = self.layers(self.pooling(hidden, mask))
        return vectors


class Normalize(nn.Module):
    """Scales vectors [batch, dim] to length 1."""

    def forward(self, vectors: Tensor) -> Tensor:
        """Give the scaled vectors."""
        return nn.functional.normalize(vectors, dim=-1)


def load_encoder(folder: EncoderFolder, *, dtype: DtypeName, place: str) -> Encoder:
    """Load an encoder on `place`, in eval mode. Raises ModelLoadError."""
    check_folder(folder.transformer)
    transformer = _load_transformer(folder.transformer, dtype, place)
    layers: list[nn.Module] = [_load_dense(layer) for layer in folder.dense]
    if folder.is_normalized:
        layers.append(Normalize())
    pooling = Pooling([cast("PoolingMode", mode) for mode in folder.poolings])
    encoder = Encoder(transformer, layers, pooling).to(place)
    return encoder.eval().requires_grad_(requires_grad=False)


def _load_transformer(folder: Path, dtype: DtypeName, place: str) -> PreTrainedModel:
    transformers_logging.disable_progress_bar()  # type: ignore[no-untyped-call]  # theirs
    transformers_logging.set_verbosity_error()  # type: ignore[no-untyped-call]  # theirs
    try:
        config = AutoConfig.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        if config.is_encoder_decoder:
            raise ModelLoadError(
                f"{str(folder)!r} is an encoder with a decoder; neither is served."
            )
        config.use_cache = False
        model, info = AutoModel.from_pretrained(
            folder,
            config=config,
            dtype=dtype_of(dtype, place=place, stored=config.dtype),
            use_safetensors=True,
            trust_remote_code=False,
            local_files_only=True,
            output_loading_info=True,
        )
    except LOAD_ERRORS as error:
        raise ModelLoadError(f"The model in {str(folder)!r} does not load: {error}") from error
    # A pooler may come without weights: it is not used.
    missing = sorted(name for name in info["missing_keys"] if not name.startswith("pooler."))
    if missing:
        message = (
            f"The weights in {str(folder)!r} lack {len(missing)} of the model's tensors, "
            f"{missing[0]!r} among them. Fetch the folder again."
        )
        raise ModelLoadError(message)
    return cast("PreTrainedModel", model)


def _load_dense(layer: DenseLayer) -> nn.Module:
    activation = getattr(torch.nn, layer.activation, None)
    if not (isinstance(activation, type) and issubclass(activation, nn.Module)):
        message = f"{str(layer.folder)!r}: torch has no activation {layer.activation!r}."
        raise ModelLoadError(message)
    linear = nn.Linear(layer.in_features, layer.out_features, bias=layer.bias)
    try:
        (file,) = find_weights(layer.folder)
        tensors = load_file(file)
        linear.load_state_dict(
            {name.removeprefix("linear."): tensor.float() for name, tensor in tensors.items()}
        )
    except LOAD_ERRORS as error:
        raise ModelLoadError(f"{str(layer.folder)!r} does not load: {error}") from error
    return nn.Sequential(linear, activation())
