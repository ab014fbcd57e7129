"""How flow models space their steps."""

from __future__ import annotations

import pytest
from diffusers.pipelines.flux.pipeline_flux import calculate_shift

from torchloom_models.diffusion.flow import shift_of


@pytest.mark.parametrize("num_patches", [16, 256, 4096])
def test_draws_the_line_of_diffusers(num_patches: int) -> None:
    """The defaults and the configuration's own values give diffusers' shift."""
    config = {"base_image_seq_len": 128, "max_image_seq_len": 1024, "base_shift": 0.2}

    assert shift_of(num_patches, {}, max_shift=1.15) == pytest.approx(calculate_shift(num_patches))
    assert shift_of(num_patches, config, max_shift=1.16) == pytest.approx(
        calculate_shift(num_patches, 128, 1024, 0.2, 1.16)
    )
