"""Guidance: between two predictions, and as a vector."""

from __future__ import annotations

import pytest
import torch
from diffusers import LatentConsistencyModelPipeline

from torchloom_models.diffusion.guidance import embed_guidance, guide


def test_goes_past_the_prediction_with_the_prompt() -> None:
    """Guidance 1 is the prediction with the prompt, 0 the one without, 3 lies beyond."""
    without, with_prompt = torch.tensor([1.0]), torch.tensor([2.0])

    values = [float(guide(without, with_prompt, guidance)) for guidance in (0, 1, 3)]

    assert values == [1.0, 2.0, 4.0]


@pytest.mark.parametrize("size", [7, 32, 256])
def test_embeds_as_distilled_networks_were_trained(size: int) -> None:
    """The vector is that of diffusers' own pipeline."""
    embed = LatentConsistencyModelPipeline.get_guidance_scale_embedding
    wanted = embed(None, torch.tensor([7.5]), embedding_dim=size)[0]

    assert torch.allclose(embed_guidance(7.5, size), wanted, atol=1e-6)
