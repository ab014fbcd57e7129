"""Network: code for few sizes, any number of rows, and eager for all else."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchloom_models.compile import CompileSettings
from torchloom_models.diffusion.network import MAX_SIZES, Network, NetworkMaker


class Scale(nn.Module):
    """A network of one weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.tensor([2.0]), requires_grad=False)

    def forward(self, latents: Tensor, timesteps: Tensor) -> Tensor:
        """Scale."""
        return latents * self.weight + timesteps[:, None]


def make(folder: Path, backend: str) -> Network:
    """Give a network of up to four rows."""
    settings = CompileSettings.from_config(backend)
    maker = NetworkMaker(settings=settings, model="m", device="cpu", folder=folder, max_rows=4)
    return maker.make(Scale().eval(), "denoise", torch.float32, 2)


@pytest.fixture
def eager(tmp_path: Path) -> Iterator[Network]:
    """Give a network that is not compiled."""
    network = make(tmp_path, "eager")
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
def test_compiles_once_for_any_number_of_rows(tmp_path: Path) -> None:
    """The rows of a batch change from step to step, and the code does not."""
    network = make(tmp_path, "inductor")
    try:
        network.warm_up([(torch.ones(2, 3), torch.ones(2))], lambda *_: None)
        for rows in (1, 2, 4):
            found = network.tensor(torch.ones(rows, 3), torch.ones(rows))
            assert torch.equal(found, torch.full((rows, 3), 3.0))
        assert network.compiled.is_compiled
        assert network.compiled.pending == 0
    finally:
        network.close()
