"""AdaptedLinear: what is added to each row, eagerly, exported, and traced by torch.compile."""

from __future__ import annotations

import threading
from copy import deepcopy

import pytest
import torch
from torch import Tensor, nn
from torch._dynamo.testing import CompileCounter

from torchloom_models.compiler import Dim
from torchloom_models.export import export_module
from torchloom_models.llm.adapter.adapted_linear import AdaptedLinear, AdaptedPass, Mix, Mixing


RANK, NUM_PLACES, SIZE = 2, 3, 5


class _Model(nn.Module):
    """Two layers one after the other, of which rows [rows, tokens, in] are seen as rows."""

    def __init__(self, mixing: Mixing) -> None:
        super().__init__()
        self.first = AdaptedLinear(nn.Linear(SIZE, SIZE), mixing, 0)
        self.second = AdaptedLinear(nn.Linear(SIZE, SIZE, bias=False), mixing, 1)

    def forward(self, rows: Tensor) -> Tensor:
        """Run both."""
        output: Tensor = self.second(torch.tanh(self.first(rows)))
        return output


@pytest.fixture
def mixing() -> Mixing:
    """Give what hands mixes on."""
    return Mixing()


@pytest.fixture
def model(mixing: Mixing) -> _Model:
    """Give a model of random numbers."""
    torch.manual_seed(0)
    return _Model(mixing).requires_grad_(requires_grad=False)


def factors() -> list[Tensor]:
    """Give factors of both layers, other ones at each place."""
    draw = torch.Generator().manual_seed(1)
    return [torch.randn((NUM_PLACES * RANK, SIZE), generator=draw) for _ in range(4)]


def rows(number: int = 4) -> Tensor:
    """Give rows of three tokens."""
    return torch.randn((number, 3, SIZE), generator=torch.Generator().manual_seed(2))


def expected(model: _Model, given: Tensor, places: list[int], own: list[Tensor]) -> Tensor:
    """Run row by row with merged weights."""
    outputs = []
    for row, place in zip(given, places, strict=True):
        part = slice(place * RANK, (place + 1) * RANK) if place >= 0 else slice(0, 0)
        down, up, later_down, later_up = (factor[part] for factor in own)
        hidden = row @ (model.first.weight + up.T @ down).T + model.first.bias
        outputs.append(torch.tanh(hidden) @ (model.second.weight + later_up.T @ later_down).T)
    return torch.stack(outputs)


PLACES = [2, -1, 0, 2]


def test_adds_to_each_row_what_is_its_own(mixing: Mixing, model: _Model) -> None:
    """Rows at one place or at none; outside of a mix nothing is added."""
    own = factors()
    with mixing.using(Mix.of(torch.tensor(PLACES), own, RANK)):
        mixed = model(rows())

    torch.testing.assert_close(mixed, expected(model, rows(), PLACES, own))
    torch.testing.assert_close(model(rows()), expected(model, rows(), [-1] * 4, own))


def test_leaves_rows_without_an_adapter_as_they_are(mixing: Mixing, model: _Model) -> None:
    """Bit for bit, whatever the factors of others come to."""
    own = [torch.full_like(factor, 1e38) for factor in factors()]
    with mixing.using(Mix.of(torch.tensor([-1, 0]), own, RANK)):
        mixed = model(rows(2))

    assert torch.equal(mixed[0], model(rows(2))[0])
    assert not mixed[1].isfinite().all()


def wrapped(model: _Model, mixing: Mixing) -> AdaptedPass:
    """Give the model as a pass that takes places and factors."""
    return AdaptedPass(model, mixing, num_factors=4, rank=RANK)


def test_takes_places_first_and_factors_last(mixing: Mixing, model: _Model) -> None:
    """Afterwards nothing is added any more, even after a pass that raised."""
    own = factors()
    run = wrapped(model, mixing)
    output = run(torch.tensor(PLACES), rows(), *own)

    torch.testing.assert_close(output, expected(model, rows(), PLACES, own))
    with pytest.raises(RuntimeError):
        run(torch.tensor(PLACES), rows()[..., 1:], *own)
    assert mixing.mix is None


def test_exports_with_open_sizes(mixing: Mixing, model: _Model) -> None:
    """Factors are arguments: other ones need no other program, nor do other numbers of rows."""
    dim = Dim("rows", min=2, max=8)
    example = (torch.tensor(PLACES), rows(), *factors())
    program = export_module(wrapped(model, mixing), example, [{0: dim}, {0: dim}, *[{}] * 4])
    other = [2 * factor for factor in factors()]

    output = program.module()(torch.tensor([1, 0]), rows(2), *other)

    torch.testing.assert_close(output, expected(model, rows(2), [1, 0], other))
    assert mixing.mix is None


def test_is_traced_whole_by_torch_compile(mixing: Mixing, model: _Model) -> None:
    """Without a break, and without new code for other places and factors."""
    count = CompileCounter()
    run = torch.compile(wrapped(model, mixing), backend=count, fullgraph=True)
    for scale, places in ((1.0, PLACES), (3.0, [0, 1, 2, -1])):
        own = [scale * factor for factor in factors()]
        output = run(torch.tensor(places), rows(), *own)
        torch.testing.assert_close(output, expected(model, rows(), places, own))

    assert count.frame_count == 1
    assert mixing.mix is None


def test_keeps_threads_and_copies_apart(mixing: Mixing, model: _Model) -> None:
    """What runs beside, in another thread or on a copy of the layers, has no mix of this one."""
    seen: list[Tensor] = []
    plain = model(rows())
    copy = deepcopy(model)
    with mixing.using(Mix.of(torch.tensor(PLACES), factors(), RANK)):
        beside = threading.Thread(target=lambda: seen.append(model(rows())))
        beside.start()
        beside.join()
        seen.append(copy(rows()))

    assert all(torch.equal(each, plain) for each in seen)
    assert copy.first._mixing is copy.second._mixing
