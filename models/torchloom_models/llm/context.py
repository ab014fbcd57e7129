"""How long a sequence may get: by the model, by the user, and by the memory for its cache."""

from __future__ import annotations

import psutil
import torch

from torchloom.errors import ModelLoadError


#: The share of free memory that all sequences together may fill, at their longest.
_MEMORY_SHARE = 0.5

#: A context that memory cuts shorter than this is an error rather than a surprise.
_MIN_LENGTH = 256


def choose_max_length(
    *,
    model_length: int | None,
    wished: int | None,
    bytes_per_token: int,
    num_slots: int,
    device: str,
) -> int:
    """Give the longest sequence in tokens, prompt and answer together.

    `wished` is what the model file says, or None for as much as the model and the memory allow.
    Raises ModelLoadError when the wish is beyond the model, or too little memory is left.
    """
    if wished is not None:
        if model_length is not None and wished > model_length:
            message = f"max_length is {wished}, but the model was made for {model_length} tokens."
            raise ModelLoadError(message)
        return wished
    fitting = int(_free_bytes(device) * _MEMORY_SHARE) // (bytes_per_token * num_slots)
    if model_length is not None and model_length <= fitting:
        return model_length
    if fitting < _MIN_LENGTH:
        message = (
            f"The memory of {device} has room for {num_slots} sequences of {fitting} tokens, which "
            f"is under {_MIN_LENGTH}. Lower max_sequences, or write max_length."
        )
        raise ModelLoadError(message)
    return fitting // 64 * 64


def _free_bytes(device: str) -> int:
    if device.startswith("cuda"):
        free, _ = torch.cuda.mem_get_info(device)
        return free
    return psutil.virtual_memory().available
