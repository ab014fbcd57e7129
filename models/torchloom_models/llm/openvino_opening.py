"""Chooses how OpenVINO runs a language model's passes: by its kernel for pages, or our own pass.

The kernel is the faster. It knows causal masks and sliding windows, and is used on the CPU alone:
other devices lay out their pages in ways of their own.
"""

from __future__ import annotations

import logging

import torch
from transformers import PreTrainedModel

from torchloom_models.llm.adapter.stack import Mixer, NoMixer
from torchloom_models.llm.cache.cache_room import CacheRoom
from torchloom_models.llm.cache.kv_cache import CacheSize, KvCache
from torchloom_models.llm.cache.paged_cache import PagedCache
from torchloom_models.llm.openvino_runner import OpenvinoRunner
from torchloom_models.llm.paged_pass import probe_windows
from torchloom_models.llm.paged_runner import PagedRunner
from torchloom_models.openvino_device import is_native
from torchloom_models.paged_attention import BLOCK_SIZE
from torchloom_models.recipe import Recipe


_log = logging.getLogger(__name__)

#: What OpenVINO calls the dtypes that a processor may lack: it would take float32 in their place,
#: and its kernel another cache.
_NAMES = {torch.bfloat16: "BF16", torch.float16: "FP16"}


def open_openvino(
    model: PreTrainedModel, room: CacheRoom, recipe: Recipe, mixer: Mixer | None = None
) -> tuple[OpenvinoRunner | PagedRunner, CacheSize]:
    """Make the runner: of the kernel where it serves the model, else of a cache that is read.

    Raises ModelLoadError where there is no room for either's cache.
    """
    mixer = mixer or NoMixer()
    try:
        _check(model, recipe.key.device)
        size = room.pages(BLOCK_SIZE)
        windows = probe_windows(model, len(size.layers), size.max_length)
    except NotImplementedError as error:
        _log.info("%s: not by OpenVINO's attention in pages: %s", recipe.key.name or "llm", error)
        size = room.slots()
        cache = KvCache.of(size, model.dtype, "cpu")
        return OpenvinoRunner(model, cache, recipe, mixer), size
    pages = PagedCache(size.layers, num_blocks=size.num_tokens // BLOCK_SIZE, dtype=model.dtype)
    return PagedRunner(model, pages, recipe, size=size, windows=windows, mixer=mixer), size


def _check(model: PreTrainedModel, device: str) -> None:
    """Raise NotImplementedError where there is no kernel for a device or a dtype."""
    unit = device.partition(":")[2]
    if unit != "CPU":
        raise NotImplementedError(f"it is the CPU's, not that of {unit}")
    name = _NAMES.get(model.dtype)
    if name is not None and not is_native(unit, name):
        raise NotImplementedError(f"this processor does not calculate in {name}")
