"""Weights of few bits."""

from __future__ import annotations

import importlib.util
from dataclasses import replace
from pathlib import Path

import openvino
import pytest
import torch
from torch import nn

from torchloom_models import openvino_device, openvino_weights
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.backend import WeightFormat
from torchloom_models.compiler import CompileFailed
from torchloom_models.openvino_compiler import OpenvinoCompiler


pytestmark = pytest.mark.slow

KEY = ArtefactKey(model="m", dtype="float32", device="openvino:CPU", part="forward")

EXACT = {"INFERENCE_PRECISION_HINT": "f32"}

X = torch.randn(4, 96, generator=torch.Generator().manual_seed(1))


def make_net() -> nn.Module:
    """Make layers whose width is no multiple of a group."""
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(96, 512), nn.GELU(), nn.Linear(512, 512), nn.Linear(512, 8)
    ).eval()


def kind_of(node: openvino.Node, key: str) -> str:
    """Give what OpenVINO says of a node that it carries out."""
    return str(node.get_rt_info()[key].astype(str))


def compile_net(folder: Path, weights: WeightFormat) -> tuple[torch.Tensor, int]:
    """Give what compiled code makes of X, and the size of the weights that were kept."""
    made = OpenvinoCompiler(
        make_net(), store=ArtefactStore(folder), key=KEY, dims=None, weights=weights
    )
    output = made.compile((X,), is_background=False)((X,))
    assert isinstance(output, torch.Tensor)
    (kept,) = folder.glob("forward-*/model.bin")
    return output, kept.stat().st_size


def test_takes_a_quarter_or_less_of_the_room(tmp_path: Path) -> None:
    """int8 and int4 are what they say, and stay near what full weights give."""
    pytest.importorskip("nncf")
    full = make_net()(X).detach()
    exact, size = compile_net(tmp_path / "full", "full")
    eight, size_of_eight = compile_net(tmp_path / "int8", "int8")
    four, size_of_four = compile_net(tmp_path / "int4", "int4")

    torch.testing.assert_close(exact, full, rtol=1e-5, atol=1e-5)
    assert size_of_four < size_of_eight < 0.27 * size
    assert 0 < (eight - full).abs().max() < (four - full).abs().max() < 0.3 * full.abs().max()


@pytest.mark.parametrize("weights", ["int8", "int4"])
def test_reads_compressed_weights_in_bfloat16_as_they_are_kept(
    weights: WeightFormat, tmp_path: Path
) -> None:
    """A product with them is one operation, not one with whole weights made while compiling."""
    pytest.importorskip("nncf")
    store = ArtefactStore(tmp_path)
    key = replace(KEY, dtype="bfloat16")
    net = make_net().bfloat16()
    made = OpenvinoCompiler(net, store=store, key=key, dims=None, weights=weights)
    found = made.compile((X.bfloat16(),), is_background=False)((X.bfloat16(),))
    assert isinstance(found, torch.Tensor)
    assert found.dtype == torch.bfloat16
    full = make_net()(X).detach()
    assert (found.float() - full).abs().max() < 0.3 * full.abs().max()

    (kept,) = tmp_path.glob("forward-*/model.xml")
    options = {"INFERENCE_PRECISION_HINT": "bf16"}
    compiled = openvino_device.core().compile_model(kept, "CPU", options)
    nodes = compiled.get_runtime_model().get_ops()
    products = [node for node in nodes if kind_of(node, "layerType") == "FullyConnected"]
    read = [kind_of(node.input_value(1).get_node(), "outputPrecisions") for node in products]
    assert sorted(read) == (["u4", "u4", "u8"] if weights == "int4" else ["u8"] * 3)
    assert "MatMul" not in {kind_of(each, "layerType") for each in nodes}


def test_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without NNCF such weights are refused, with the way to get it."""
    find = importlib.util.find_spec
    monkeypatch.setattr(
        openvino_weights, "find_spec", lambda name: None if name == "nncf" else find(name)
    )

    with pytest.raises(CompileFailed, match=r"pip install 'torchloom\[openvino\]'"):
        compile_net(tmp_path, "int8")


@pytest.mark.parametrize(("stored", "size"), [(torch.bfloat16, 2), (torch.float32, 4)])
def test_keeps_float32_in_16_bits_where_nothing_is_lost(
    stored: torch.dtype, size: int, tmp_path: Path
) -> None:
    """Weights of a checkpoint in bfloat16 take half the room, and give the same; others stay."""
    torch.manual_seed(0)
    weight = torch.randn(256, 512).to(stored).float()
    x = openvino.opset13.parameter([-1, 512], openvino.Type.f32)
    matrix = openvino.opset13.constant(weight.numpy())
    model = openvino.Model(
        [openvino.opset13.matmul(x, matrix, transpose_a=False, transpose_b=True)], [x]
    )
    before = openvino.Core().compile_model(model.clone(), "CPU", EXACT)

    openvino_weights.narrow(model)
    openvino.save_model(model, tmp_path / "model.xml", compress_to_fp16=False)
    after = openvino.Core().compile_model(tmp_path / "model.xml", "CPU", EXACT)

    values = torch.randn(3, 512).numpy()
    found, wanted = (torch.from_numpy(code(values)[0]) for code in (after, before))
    torch.testing.assert_close(found, wanted, rtol=1e-5, atol=1e-5)
    assert (tmp_path / "model.bin").stat().st_size == size * weight.numel()
    assert ('name="decompression"' in (tmp_path / "model.xml").read_text()) == (size == 2)
