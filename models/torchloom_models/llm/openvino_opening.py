"""Chooses how OpenVINO runs a language model's passes: by its kernel for pages, or our own pass.

The kernel is the faster. It knows causal masks and sliding windows, and is used on the CPU alone:
other devices lay out their pages in ways of their own.
"""

from __future__ import annotations

import logging

import torch
from transformers import PreTrainedModel

from torchloom_models.llm.adapter_stack import Mixer, NoMixer
from torchloom_models.llm.kv_cache import CacheSize, KvCache
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_cache import PagedCache, num_blocks
from torchloom_models.llm.paged_pass import probe_windows
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.openvino_device import is_native
from torchloom_models.recipe import Recipe


_log = logging.getLogger(__name__)

#: What OpenVINO calls the dtypes that a processor may lack: it would take float32 in their place,
#: and its kernel another cache.
_NAMES = {torch.bfloat16: "BF16", torch.float16: "FP16"}


def open_openvino(
    model: PreTrainedModel, size: CacheSize, recipe: Recipe, mixer: Mixer | None = None
) -> OpenvinoRunner | PagedRunner:
    """Make the runner: of the kernel where it serves the model, else of a cache that is read."""
    num_slots, max_length = size.num_slots, size.max_length
    mixer = mixer or NoMixer()
    try:
        windows = _windows(model, size, recipe.key.device)
    except NotImplementedError as error:
        _log.info("%s: not by OpenVINO's attention in pages: %s", recipe.key.name or "llm", error)
        cache = KvCache(
            size.layers, num_slots=num_slots, max_length=max_length, dtype=model.dtype, device="cpu"
        )
        return OpenvinoRunner(model, cache, recipe, mixer)
    pages = PagedCache(
        size.layers, num_blocks=num_slots * num_blocks(max_length), dtype=model.dtype
    )
    return PagedRunner(model, pages, recipe, size=size, windows=windows, mixer=mixer)


def _windows(model: PreTrainedModel, size: CacheSize, device: str) -> list[int]:
    """Give the window of each layer. Raises NotImplementedError where the kernel will not do."""
    unit = device.partition(":")[2]
    if unit != "CPU":
        raise NotImplementedError(f"it is the CPU's, not that of {unit}")
    name = _NAMES.get(model.dtype)
    if name is not None and not is_native(unit, name):
        raise NotImplementedError(f"this processor does not calculate in {name}")
    return probe_windows(model, len(size.layers), size.max_length)
