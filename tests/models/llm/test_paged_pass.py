"""PagedPass: the windows of a model's layers, and the model's own logits for rows of any length."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_model import LAYOUTS, load_reference, save_model
from transformers.masking_utils import (
    bidirectional_mask_function,
    causal_mask_function,
    chunked_causal_mask_function,
    sliding_window_causal_mask_function,
)

from torchloom_models.llm import attention
from torchloom_models.llm.cache.paged_cache import PagedCache
from torchloom_models.llm.model_runner import probe_layers
from torchloom_models.llm.paged_pass import PagedPass, probe_windows, window_of


WINDOWS = {"mistral": [16, 16, 16], "gemma3": [12, 0, 12], "phi3": [20, 20, 20]}


def test_finds_the_window_of_a_mask() -> None:
    """Causal masks have none; a window that no sequence fills is none."""
    assert window_of(causal_mask_function, 64) == 0
    assert window_of(sliding_window_causal_mask_function(9), 64) == 9
    assert window_of(sliding_window_causal_mask_function(64), 64) == 0
    assert window_of(sliding_window_causal_mask_function(4000), 5000) == 4000
    assert window_of(causal_mask_function, 1) == 0


@pytest.mark.parametrize(
    "mask",
    [bidirectional_mask_function, chunked_causal_mask_function(16, torch.zeros(1, dtype=int))],
    ids=["bidirectional", "chunked"],
)
def test_refuses_other_masks(mask: attention.MaskFunction) -> None:
    """What the kernel does not know is never taken for what it knows."""
    with pytest.raises(NotImplementedError, match="neither causal nor"):
        window_of(mask, 64)


@pytest.mark.slow
@pytest.mark.parametrize("layout", sorted(LAYOUTS))
@torch.inference_mode()
def test_gives_the_logits_of_the_model(layout: str, tmp_path: Path) -> None:
    """A prompt goes on beside another that starts: each has the logits that it has alone."""
    folder = save_model(tmp_path, layout)
    reference = load_reference(folder)
    attention.register()
    model = load_reference(folder)
    model.set_attn_implementation(attention.IMPLEMENTATION)
    layers = probe_layers(model)
    windows = probe_windows(model, len(layers), 64)
    cache = PagedCache(layers, num_blocks=4, dtype=torch.float32)
    run = PagedPass(model, windows)
    draw = torch.Generator().manual_seed(1)
    first, second = (torch.randint(8, 300, (n,), generator=draw) for n in (50, 7))

    int32 = torch.int32
    run(
        first[:40],
        torch.arange(40),
        torch.tensor([39]),
        torch.tensor([0], dtype=int32),
        torch.tensor([0, 40], dtype=int32),
        torch.tensor([2, 3], dtype=int32),
        torch.tensor([0, 2], dtype=int32),
        torch.tensor(40, dtype=int32),
        *cache.buffers,
    )
    found = run(
        torch.cat([first[40:], second]),
        torch.cat([torch.arange(40, 50), torch.arange(7)]),
        torch.tensor([3, 9, 16]),
        torch.tensor([40, 0], dtype=int32),
        torch.tensor([0, 10, 17], dtype=int32),
        torch.tensor([2, 3, 0], dtype=int32),
        torch.tensor([0, 2, 3], dtype=int32),
        torch.tensor(50, dtype=int32),
        *cache.buffers,
    )

    assert windows == WINDOWS.get(layout, [0, 0, 0])
    wanted = [reference(first[None]).logits[0, [43, 49]], reference(second[None]).logits[0, [6]]]
    torch.testing.assert_close(found, torch.cat(wanted), rtol=1e-4, atol=1e-4)


@pytest.mark.slow
def test_refuses_a_model_without_a_layer_for_logits(llama: Path) -> None:
    """Which tokens have logits is chosen before that layer."""
    attention.register()
    model = load_reference(llama)
    model.set_attn_implementation(attention.IMPLEMENTATION)
    model.get_output_embeddings = lambda: None

    with pytest.raises(NotImplementedError, match="no layer of its own for logits"):
        probe_windows(model, 3, 64)
