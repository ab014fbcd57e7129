"""Code by OpenVINO: converted once, kept with its weights, and exact unless told otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from torchloom_models import openvino_compiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.compiler import CompileFailed, Dim, Dims
from torchloom_models.openvino_compiler import OpenvinoCompiler, dtype_within


pytestmark = pytest.mark.slow

KEY = ArtefactKey(model="m", dtype="float32", device="openvino:CPU", part="forward")

ROWS, LENGTH = Dim("rows", max=16), Dim("length", max=64)
DIMS: Dims = [{0: ROWS, 1: LENGTH}]


class Net(nn.Module):
    """Two layers over [rows, length, 32]; gives a mapping."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.GELU(), nn.Linear(64, 8))
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, x: Tensor) -> Mapping[str, object]:
        """Give what the layers make of it, its largest number a row, and whether one is over 0."""
        y = self.layers(x)
        return {"y": y, "pair": (y.amax((1, 2)), (y > 0).any())}


class Writer(nn.Module):
    """Writes to what it is given, as a step over a cache does."""

    def forward(self, x: Tensor, cache: Tensor) -> Tensor:
        """Put x first."""
        cache[:, 0] = x
        return cache.sum(-1)


class Counter(nn.Module):
    """Counts its calls in a buffer."""

    count: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("count", torch.zeros(1))

    def forward(self, x: Tensor) -> Tensor:
        """Add the count."""
        self.count.add_(1)
        return x + self.count


class Types(nn.Module):
    """Takes and gives every type that is served."""

    def forward(self, f: Tensor, b: Tensor, i: Tensor, h: Tensor) -> tuple[Tensor, ...]:
        """Give each back in its own type."""
        return f + 1, b + 1, i * 2, h + 1, i > 1


class Tail(nn.Module):
    """Slices with an open end."""

    def forward(self, x: Tensor) -> Tensor:
        """Give the double of all rows but the first."""
        return x[1:] * 2


class Gated(nn.Module):
    """A gated layer, as language models have."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.gate, self.up, self.down = nn.Linear(64, 128), nn.Linear(64, 128), nn.Linear(128, 64)
        self.eval().requires_grad_(requires_grad=False).bfloat16()

    def forward(self, x: Tensor) -> Tensor:
        """Give what goes through the gate."""
        return cast("Tensor", self.down(nn.functional.silu(self.gate(x)) * self.up(x)))


class Partly(nn.Module):
    """Gives something that is no tensor."""

    def forward(self, x: Tensor) -> tuple[Tensor, None]:
        """Give x and nothing."""
        return x, None


def compiler(module: nn.Module, folder: Path, dims: Dims | None = DIMS) -> OpenvinoCompiler:
    """Make a compiler whose artefacts are kept in `folder`."""
    return OpenvinoCompiler(module, store=ArtefactStore(folder), key=KEY, dims=dims)


def compile_net(folder: Path, module: nn.Module) -> openvino_compiler.Code:
    """Compile, or find, code for a net of dynamic sizes."""
    return compiler(module, folder).compile((torch.zeros(4, 8, 32),), is_background=False)


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that keeps code for a net."""
    folder = tmp_path_factory.mktemp("artefacts")
    compile_net(folder, Net())
    return folder


@pytest.fixture
def conversions(monkeypatch: pytest.MonkeyPatch) -> list[ExportedProgram]:
    """Count what is converted."""
    made: list[ExportedProgram] = []
    convert = openvino_compiler._convert

    def counting(program: ExportedProgram) -> object:
        made.append(program)
        return convert(program)

    monkeypatch.setattr(openvino_compiler, "_convert", counting)
    return made


def check(code: openvino_compiler.Code, module: nn.Module) -> None:
    """Compare code with the module it was made from, at several sizes."""
    for rows, length in ((1, 1), (4, 8), (16, 64)):
        x = torch.randn(rows, length, 32)
        torch.testing.assert_close(code((x,)), module(x), rtol=1e-5, atol=1e-5)


def test_gives_what_eager_code_gives_at_every_size(kept: Path) -> None:
    """One piece of code serves every batch and length, in float32 as torch calculates it."""
    module = Net()

    check(compile_net(kept, module), module)


def test_converts_once(kept: Path, conversions: list[ExportedProgram]) -> None:
    """A second start finds what the first one kept."""
    check(compile_net(kept, Net()), Net())

    assert conversions == []


def test_keeps_the_weights_once(kept: Path) -> None:
    """They are in OpenVINO's own form; the device's code reads them from there."""
    (weights,) = kept.glob("forward-*/model.bin")
    held = Net().layers[0].weight.numpy().tobytes()  # type: ignore[operator]  # it is a Linear

    assert held in weights.read_bytes()
    assert held not in (weights.parent / "code.blob").read_bytes()


@pytest.mark.parametrize("change", ["weights", "dims", "key", "threads"])
def test_converts_again_for_what_has_changed(
    kept: Path,
    change: str,
    conversions: list[ExportedProgram],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A weight, a bound, a device's part or a thread more is other code."""
    module = Net(seed=1 if change == "weights" else 0)
    if change == "threads":
        num_threads = torch.get_num_threads() + 1
        monkeypatch.setattr(torch, "get_num_threads", lambda: num_threads)
    made = compiler(module, kept, [{0: ROWS}] if change == "dims" else DIMS)
    if change == "key":
        key = ArtefactKey(model="other", dtype="float32", device="openvino:CPU", part="forward")
        made = OpenvinoCompiler(module, store=ArtefactStore(kept), key=key, dims=DIMS)

    code = made.compile((torch.zeros(4, 8, 32),), is_background=False)

    assert len(conversions) == 1
    x = torch.randn(4, 8, 32)
    torch.testing.assert_close(code((x,)), module(x), rtol=1e-5, atol=1e-5)


def test_reads_what_an_argument_holds_now(kept: Path) -> None:
    """One that was lent before and is written to since; another; and again after one failed."""
    code, net = compile_net(kept, Net()), Net()
    first, second = (torch.randn(4, 8, 32) for _ in range(2))

    for argument in (first, first, second, first):
        argument.mul_(1.5)
        torch.testing.assert_close(code((argument,)), net(argument), rtol=1e-5, atol=1e-5)
    with pytest.raises(RuntimeError):
        code((torch.randn(4, 8, 31),))
    torch.testing.assert_close(code((first,)), net(first), rtol=1e-5, atol=1e-5)


def test_makes_code_again_where_the_kept_one_is_broken(
    tmp_path: Path, conversions: list[ExportedProgram]
) -> None:
    """A blob that the device refuses is compiled again; a model that is broken, converted again."""
    compile_net(tmp_path, Net())
    (model,) = tmp_path.glob("forward-*/model.xml")

    (model.parent / "code.blob").write_bytes(b"no code")
    check(compile_net(tmp_path, Net()), Net())
    assert len(conversions) == 1

    (model.parent / "code.blob").unlink()
    model.write_text("no model")
    check(compile_net(tmp_path, Net()), Net())
    assert len(conversions) == 2


def test_keeps_every_row_behind_the_open_end_of_a_slice(tmp_path: Path) -> None:
    """Its end is the largest number of 64 bits, which the device's code must not cut to -1."""
    x = torch.randn(5, 3)
    dims = [{0: Dim("rows", min=3, max=8)}]

    for _ in ("made", "found"):
        outputs = compiler(Tail(), tmp_path, dims).compile((x,), is_background=False)((x,))
        torch.testing.assert_close(outputs, Tail()(x), rtol=0, atol=0)


def test_takes_a_second_thread_where_one_would_end_the_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A gated layer in bfloat16 is compiled for two at least; in float32 one is one."""
    monkeypatch.setattr(torch, "get_num_threads", lambda: 1)
    assert compiler(Net(), tmp_path)._options()["INFERENCE_NUM_THREADS"] == 1
    made = compiler(Gated(), tmp_path, [{0: ROWS}])
    assert made._options()["INFERENCE_NUM_THREADS"] == 2

    x = torch.randn(3, 8, 64).bfloat16()
    output = made.compile((x,), is_background=False)((x,))
    torch.testing.assert_close(output, Gated()(x), rtol=0.02, atol=0.02)


def test_keeps_every_type(tmp_path: Path) -> None:
    """Types that numpy lacks go and come by their bits; views are laid out anew."""
    arguments = (
        torch.randn(6, 2).T,
        torch.randn(3, dtype=torch.bfloat16),
        torch.tensor([1, 2, 3]),
        torch.randn(3, dtype=torch.float16),
    )

    outputs = compiler(Types(), tmp_path, None).compile(arguments, is_background=False)(arguments)

    torch.testing.assert_close(outputs, Types()(*arguments), rtol=0, atol=0)


def test_gives_outputs_that_stay(kept: Path) -> None:
    """What a call gave is not written over by the next one."""
    code = compile_net(kept, Net())
    first = cast("Mapping[str, Tensor]", code((torch.ones(4, 8, 32),)))["y"]
    before = first.clone()

    code((torch.zeros(4, 8, 32),))

    torch.testing.assert_close(first, before, rtol=0, atol=0)


@pytest.mark.parametrize(
    ("module", "arguments", "words"),
    [
        (Writer(), (torch.ones(2), torch.ones(2, 3)), "writes to 'cache' in place"),
        (Counter(), (torch.ones(2),), "writes to 'count' in place"),
        (Partly(), (torch.ones(2),), "more than tensors"),
        (nn.Linear(2, 2).double(), (torch.ones(2, 2).double(),), "float64"),
        (nn.Linear(2, 2), (torch.ones(2, 3),), r"torch\.export refused it"),
    ],
)
def test_refuses_what_it_would_get_wrong(
    tmp_path: Path, module: nn.Module, arguments: tuple[Tensor, ...], words: str
) -> None:
    """Whatever OpenVINO would drop or change without a word stops the model, by its name."""
    with pytest.raises(CompileFailed, match=words):
        compiler(module, tmp_path, None).compile(arguments, is_background=False)
    assert list(tmp_path.glob("forward-*/*")) == []


def test_calculates_in_the_dtype_of_the_weights() -> None:
    """Most of the numbers decide; without any it is float32."""
    mixed = nn.Sequential(nn.Linear(64, 64).bfloat16(), nn.Linear(4, 4))

    assert dtype_within(mixed) == torch.bfloat16
    assert dtype_within(nn.Linear(2, 2)) == torch.float32
    assert dtype_within(nn.GELU()) == torch.float32


def test_tells_layouts_apart_by_dtype_and_size(tmp_path: Path) -> None:
    """Strides do not count: arguments are laid out as OpenVINO wants them."""
    made = compiler(Net(), tmp_path)
    layout = made.layout_of((torch.ones(4, 8, 32),))

    assert made.layout_of((torch.ones(9, 3, 32),)) == layout
    assert made.layout_of((torch.ones(8, 4, 32).transpose(0, 1),)) == layout
    assert made.layout_of((torch.ones(17, 8, 32),)) != layout
    assert made.layout_of((torch.ones(4, 8, 32).half(),)) != layout
