"""The halves of an autoencoder: scaled as the configuration says, and back."""

from __future__ import annotations

import pytest
import torch
from tiny_pipeline import make_vae

from torchloom_models.diffusion.vae import VaeDecoder, VaeEncoder, latent_factor


CONFIGURATIONS: list[dict[str, object]] = [
    {"scaling_factor": 0.5},
    {"scaling_factor": 2.0, "shift_factor": 0.3},
    {"latents_mean": [0.1, 0.2, 0.3, 0.4], "latents_std": [1.0, 2.0, 3.0, 4.0]},
]


@pytest.mark.parametrize("changes", CONFIGURATIONS)
def test_undoes_its_own_scale(changes: dict[str, object]) -> None:
    """What the encoder scales, the decoder scales back: by factor and shift, or mean and spread."""
    vae = make_vae()
    vae.register_to_config(**changes)
    moments = torch.randn(1, 8, 4, 4)

    latents = VaeEncoder(vae).sample(moments, None)

    plain = moments[:, :4]
    assert not torch.allclose(latents, plain, atol=0.1)
    assert torch.allclose(VaeDecoder(vae).scale.undone(latents), plain, atol=1e-5)


def test_draws_from_the_moments_with_a_generator() -> None:
    """The same generator gives the same latents; without one they are the likeliest."""
    encoder = VaeEncoder(make_vae())
    moments = torch.randn(1, 8, 4, 4)
    first, second = (encoder.sample(moments, torch.Generator().manual_seed(3)) for _ in range(2))

    assert torch.equal(first, second)
    assert not torch.equal(first, encoder.sample(moments, None))


def test_gives_pictures_between_black_and_white() -> None:
    """Whatever the decoder says is cut to 0 to 1, in twice the latents' sides."""
    vae = make_vae()
    with torch.no_grad():
        pixels = VaeDecoder(vae)(torch.randn(2, 4, 4, 6) * 100)

    assert pixels.shape == (2, 3, 8, 12)
    assert pixels.min() >= 0
    assert pixels.max() <= 1
    assert latent_factor(vae) == 2
