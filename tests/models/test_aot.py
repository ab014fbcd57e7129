"""Code compiled ahead of time: made once, kept without weights, bound to any module's own."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from torchloom_models.aot import AotCompiler
from torchloom_models.aot_build import AotBuild
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.compiler import Code, CompileFailed, Dim, Dims


pytestmark = pytest.mark.slow

KEY = ArtefactKey(model="cell", dtype="float32", device="cpu", part="cell")

ROWS, LENGTH = Dim("rows", max=64), Dim("length", max=256)
DIMS: Dims = [{0: ROWS}, {0: ROWS}, {0: ROWS, 1: LENGTH}]


class Cell(nn.Module):
    """Attention over a cache [rows, length, 80], with one entry written at `position` [rows]."""

    scale: Tensor

    def __init__(self, *, scale: float = 0.5) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.query = nn.Linear(80, 80)
        self.key = nn.Linear(80, 80)
        self.register_buffer("scale", torch.tensor(scale))
        self.eval().requires_grad_(requires_grad=False)

    def forward(self, x: Tensor, position: Tensor, cache: Tensor) -> tuple[Tensor, Tensor]:
        """Give what is attended to [rows, 80], and the weights [rows, length]."""
        cache[torch.arange(x.shape[0]), position] = self.key(x)
        scores = (cache @ self.query(x).unsqueeze(-1)).squeeze(-1) * self.scale
        later = torch.arange(cache.shape[1]) > position.unsqueeze(-1)
        weights = scores.masked_fill(later, -1e9).softmax(-1)
        return (weights.unsqueeze(1) @ cache).squeeze(1), weights


def arguments(rows: int, length: int) -> tuple[Tensor, Tensor, Tensor]:
    """Make arguments for a cell, the same for the same sizes."""
    source = torch.Generator().manual_seed(rows * 1000 + length)
    return (
        torch.randn(rows, 80, generator=source),
        torch.randint(0, length, (rows,), generator=source),
        torch.randn(rows, length, 80, generator=source),
    )


def compiler(module: nn.Module, folder: Path, dims: Dims | None = DIMS) -> AotCompiler:
    """Make a compiler whose artefacts are kept in `folder`."""
    return AotCompiler(module, store=ArtefactStore(folder), key=KEY, dims=dims, mode="default")


def compile_cell(folder: Path, module: nn.Module) -> Code:
    """Compile, or find, code for a cell of dynamic sizes."""
    return compiler(module, folder).compile(arguments(4, 32), is_background=False)


@pytest.fixture(scope="module")
def kept(make_artefacts: Callable[[Path], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a folder that keeps code for a cell."""
    folder = make_artefacts(tmp_path_factory.mktemp("artefacts"))
    compile_cell(folder, Cell())
    return folder


@pytest.fixture
def no_build(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let nothing be built: code must come from what is kept."""

    def refuse(_build: AotBuild, _program: ExportedProgram) -> None:
        raise AssertionError("built again")

    monkeypatch.setattr(AotBuild, "run", refuse)


def check(code: Code, module: nn.Module, sizes: Sequence[tuple[int, int]]) -> None:
    """Compare code with the module it was made from, outputs and cache."""
    for rows, length in sizes:
        x, position, cache = arguments(rows, length)
        written = cache.clone()
        outputs = cast("tuple[Tensor, Tensor]", code((x, position, written)))
        expected = module(x, position, cache)
        torch.testing.assert_close(outputs, expected, rtol=1e-5, atol=1e-5)
        torch.testing.assert_close(written, cache, rtol=1e-5, atol=1e-5)


@pytest.mark.usefixtures("no_build")
def test_gives_what_eager_code_gives_at_every_size(kept: Path) -> None:
    """One piece of code serves every batch and length, and writes to its arguments in place."""
    module = Cell()

    check(compile_cell(kept, module), module, [(1, 1), (1, 32), (4, 4), (3, 7), (64, 256)])


@pytest.mark.usefixtures("no_build")
def test_runs_kept_code_on_another_models_weights(kept: Path) -> None:
    """Code holds no weights: a model that differs in them alone takes it and brings its own."""
    module = Cell()
    module.query.weight = nn.Parameter(torch.randn(80, 80), requires_grad=False)

    check(compile_cell(kept, module), module, [(4, 32)])


@pytest.mark.usefixtures("no_build")
def test_needs_no_compiler_for_kept_code(kept: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine without one serves what another of its kind has compiled; new code it refuses."""
    monkeypatch.setattr(shutil, "which", lambda _: None)
    module = Cell()

    check(compile_cell(kept, module), module, [(4, 32)])
    with pytest.raises(CompileFailed, match=r"no C\+\+ compiler"):
        compile_cell(kept, Cell(scale=3.0))


@pytest.mark.usefixtures("no_build")
def test_keeps_no_weights(kept: Path) -> None:
    """The package is code alone, whatever the size of the model."""
    (package,) = kept.glob("cell-*/code.pt2")
    weights = Cell().query.weight.numpy().tobytes()

    assert weights[:64] not in package.read_bytes()
    assert {path.name for path in package.parent.iterdir()} == {
        "about.json",
        "code.pt2",
        "constants.safetensors",
    }


@pytest.mark.usefixtures("no_build")
@pytest.mark.parametrize("change", ["buffer", "dims", "key", "threads"])
def test_never_takes_code_for_what_has_changed(
    kept: Path, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A value that code may have baked in, a bound, a device or a thread more is other code."""
    module = Cell(scale=0.25 if change == "buffer" else 0.5)
    dims = [{0: ROWS}, {0: ROWS}, {0: ROWS}] if change == "dims" else DIMS
    key = ArtefactKey(model="cell", dtype="float32", device="cpu", part="cell")
    if change == "key":
        key = ArtefactKey(model="other", dtype="float32", device="cpu", part="cell")
    if change == "threads":
        monkeypatch.setattr(torch, "get_num_threads", lambda: 77)
    made = AotCompiler(module, store=ArtefactStore(kept), key=key, dims=dims, mode="default")

    with pytest.raises(AssertionError, match="built again"):
        made.compile(arguments(4, 32), is_background=False)


def test_makes_code_again_where_the_kept_one_is_broken(
    kept: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A package that does not load is replaced, not served and not stumbled over for ever."""
    (good,) = (folder.parent for folder in kept.glob("cell-*/code.pt2"))
    builds = itertools.count(1)

    def build(self: AotBuild, _program: ExportedProgram) -> None:
        cut = 1000 if next(builds) == 1 else None
        package = (good / AotBuild.PACKAGE).read_bytes()[:cut]
        (self._folder / AotBuild.PACKAGE).write_bytes(package)

    monkeypatch.setattr(AotBuild, "run", build)
    module = Cell()

    with pytest.raises(CompileFailed, match="does not load"):
        compile_cell(tmp_path, module)

    check(compile_cell(tmp_path, module), module, [(4, 32)])


def test_builds_nothing_once_it_is_closed(tmp_path: Path) -> None:
    """A compiler that was closed while it exported starts no child."""
    made = compiler(Cell(), tmp_path)
    made.close()

    with pytest.raises(CompileFailed, match="closing"):
        made.compile(arguments(4, 32), is_background=True)


def test_tells_layouts_apart(tmp_path: Path) -> None:
    """Dynamic sizes are one layout within their bounds; dtypes, strides and other sizes are not."""
    made = compiler(Cell(), tmp_path)
    x, position, cache = arguments(4, 32)
    layout = made.layout_of((x, position, cache))

    assert made.layout_of(arguments(1, 9)) == layout
    assert made.layout_of(arguments(4, 257)) != layout
    assert made.layout_of((x.double(), position, cache)) != layout
    assert (
        made.layout_of((x, position, cache.transpose(0, 1).contiguous().transpose(0, 1))) != layout
    )


def test_refuses_code_that_ends_whoever_loads_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A toolchain whose code aborts when it is loaded ends the build, not this process."""
    source, part, wrapper = (tmp_path / name for name in ("end.cpp", "end.o", "badly-linking-g++"))
    source.write_text("#include <cstdlib>\n[[gnu::constructor]] static void end() { abort(); }\n")
    subprocess.run(["g++", "-fPIC", "-c", source, "-o", part], check=True)
    wrapper.write_text(
        f'#!/bin/sh\ncase " $* " in *" -shared "*) exec g++ "$@" {part};; esac\nexec g++ "$@"\n'
    )
    wrapper.chmod(0o755)
    monkeypatch.setenv("CXX", str(wrapper))

    with pytest.raises(CompileFailed, match="inductor failed"):
        compile_cell(tmp_path / "artefacts", Cell())
    assert not list((tmp_path / "artefacts").glob("cell-*/code.pt2"))
