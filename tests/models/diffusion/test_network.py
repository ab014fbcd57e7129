"""Network: code for few sizes, any number of rows, and eager for all else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from tiny_pipeline import make_unet
from torch import Tensor, nn

from torchloom_models.compile import ArtefactKey, CompileSettings
from torchloom_models.diffusion.network import MAX_SIZES, Network, NetworkMaker
from torchloom_models.diffusion.stable_diffusion import UnetStep
from torchloom_models.recipe import Recipe


class Scale(nn.Module):
    """A network of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]), requires_grad=False)

    def forward(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        """Scale."""
        return latents * self.weight + timesteps[:, None]


def maker(folder: Path, backend: str) -> NetworkMaker:
    """Give a maker of networks of up to four rows."""
    settings = CompileSettings.from_config(backend)
    key = ArtefactKey(model="m", dtype="float32", device="cpu")
    return NetworkMaker(Recipe(settings=settings, key=key, folder=folder), max_rows=4)


@pytest.fixture
def eager(tmp_path: Path) -> Iterator[Network]:
    """Give a network that is not compiled."""
    network = maker(tmp_path, "eager").make(Scale().eval(), "denoise", torch.float32, 2)
    yield network
    network.close()


def test_runs_without_a_compiler(eager: Network) -> None:
    """Eager serves every size."""
    for side in range(1, MAX_SIZES + 3):
        found = eager.tensor(torch.ones(3, side), torch.ones(3))
        assert torch.equal(found, torch.full((3, side), 3.0))


def test_asks_for_code_for_few_sizes_only(eager: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers may ask for any size; beyond the first few none gets code of its own."""
    sizes = []
    compiled = eager.compiled

    def record(*arguments: Tensor) -> object:
        sizes.append(arguments[0].shape[1])
        return compiled(*arguments)

    monkeypatch.setattr(eager, "compiled", record)
    for side in [*range(1, MAX_SIZES + 5), 1]:
        eager(torch.ones(1, side), torch.ones(1))

    assert sizes == [*range(1, MAX_SIZES + 1), 1]
    monkeypatch.undo()


@pytest.mark.slow
def test_compiles_a_unet_once_for_any_number_of_rows(
    make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """The rows of a batch change from step to step, and the code does not."""
    blocks = {"down_block_types": ("CrossAttnDownBlock2D",), "mid_block_type": None}
    unet = make_unet(block_out_channels=(16,), up_block_types=("CrossAttnUpBlock2D",), **blocks)
    step = UnetStep(unet.eval().requires_grad_(requires_grad=False))
    network = maker(make_artefacts(tmp_path), "inductor").make(step, "denoise", torch.float32, 3)
    inputs = (
        torch.randn(4, 4, 4, 4),
        torch.tensor([1.0, 9.0, 500.0, 999.0]),
        torch.randn(4, 5, 32),
    )
    try:
        network.warm_up([tuple(each[:2].clone() for each in inputs)], lambda *_: None)
        for rows in (1, 2, 4):
            given = [each[:rows].clone() for each in inputs]
            assert torch.allclose(network.tensor(*given), step(*given), atol=1e-4)
        assert network.compiled.is_compiled
        assert network.compiled.pending == 0
    finally:
        network.close()
