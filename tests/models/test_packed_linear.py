"""PackedLinear: linear layers whose weights lie as oneDNN multiplies them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn
from transformers import T5Config, T5EncoderModel

from torchloom_models.aot import AotCompiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.compiler import Dim
from torchloom_models.packed_linear import PackedLinear, pack_linears, packed_weights


pytestmark = pytest.mark.skipif(
    not torch.ops.mkldnn._is_mkldnn_bf16_supported(),
    reason="this processor does not multiply bfloat16",
)


class _Network(nn.Module):
    """Layers that are packed, and one that is too small to gain by it."""

    def __init__(self) -> None:
        super().__init__()
        self.into = nn.Linear(64, 128)
        self.out_of = nn.Linear(128, 64, bias=False)
        self.small = nn.Linear(64, 8)

    def forward(self, rows: torch.Tensor) -> torch.Tensor:
        """Give [rows, 8] for rows [rows, 64]."""
        hidden: torch.Tensor = self.small(self.out_of(nn.functional.gelu(self.into(rows))))
        return hidden


def _network(dtype: torch.dtype = torch.bfloat16) -> _Network:
    torch.manual_seed(0)
    return _Network().to(dtype).eval().requires_grad_(requires_grad=False)


def test_gives_what_the_plain_layer_gives() -> None:
    """Packed or not, for any leading dimensions, none included."""
    plain = _network()
    packed = copy.deepcopy(plain)
    pack_linears(packed)
    for shape in ((64,), (1, 64), (5, 64), (2, 3, 64), (0, 64)):
        rows = torch.randn(shape, dtype=torch.bfloat16)
        torch.testing.assert_close(packed(rows), plain(rows), rtol=2e-2, atol=2e-2)


def test_packs_what_gains_by_it() -> None:
    """Small layers stay, and whatever is not bfloat16; a second call changes nothing."""
    network = _network()
    pack_linears(network)
    pack_linears(network)
    assert isinstance(network.into, PackedLinear)
    assert isinstance(network.out_of, PackedLinear)
    assert type(network.small) is nn.Linear
    assert list(packed_weights(network)) == ["into.weight", "out_of.weight"]
    other = _network(torch.float32)
    pack_linears(other)
    assert packed_weights(other) == {}


def test_leaves_a_layer_whose_owner_reads_its_weight() -> None:
    """T5 looks at the dtype of one of its layers in each pass; a look at a packed one is a copy."""
    config = T5Config(vocab_size=64, d_model=64, d_kv=32, d_ff=128, num_layers=1, num_heads=2)
    encoder = T5EncoderModel(config).to(torch.bfloat16)
    pack_linears(encoder)
    feed_forward = encoder.encoder.block[0].layer[1].DenseReluDense
    assert isinstance(feed_forward.wi, PackedLinear)
    assert type(feed_forward.wo) is nn.Linear


def test_gives_the_weight_as_it_was() -> None:
    """Code that reads a layer's weight reads the plain numbers, and prints as before."""
    plain = _network()
    network = copy.deepcopy(plain)
    pack_linears(network)
    assert torch.equal(network.into.weight, plain.into.weight)
    assert network.out_of.extra_repr() == plain.out_of.extra_repr()


def test_leaves_a_shared_weight_to_the_other_owner() -> None:
    """The embedding that a head is tied to is still looked up."""
    head, table = nn.Linear(64, 128, bias=False), nn.Embedding(128, 64)
    head.weight = table.weight
    both = nn.ModuleDict({"head": head, "table": table}).to(torch.bfloat16)
    ids = torch.arange(5)
    before = both["table"](ids).clone()
    pack_linears(both)
    assert torch.equal(both["table"](ids), before)
    assert torch.equal(both["head"].weight, both["table"].weight)


@pytest.mark.slow
def test_compiles_to_code_that_takes_the_packed_weights(
    make_artefacts: Callable[[Path], Path], tmp_path: Path
) -> None:
    """For any number of rows, once made and once found."""
    plain = _network()
    network = copy.deepcopy(plain)
    pack_linears(network)
    folder = make_artefacts(tmp_path)
    for _ in range(2):
        compiler = AotCompiler(
            network,
            store=ArtefactStore(folder),
            key=ArtefactKey(model="m", dtype="torch.bfloat16", device="cpu", part="all"),
            dims=[{0: Dim("rows", max=64)}],
            mode="default",
        )
        code = compiler.compile([torch.zeros(8, 64, dtype=torch.bfloat16)], is_background=False)
        for size in (1, 3, 64):
            rows = torch.randn(size, 64, dtype=torch.bfloat16)
            found = code([rows])
            assert isinstance(found, torch.Tensor)
            torch.testing.assert_close(found, plain(rows), rtol=2e-2, atol=2e-2)
