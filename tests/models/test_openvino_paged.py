"""OpenVINO's kernel for attention over pages: what the operation gives that is written out."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from torchloom_models import openvino_compiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.compiler import Code, Dim
from torchloom_models.openvino_compiler import OpenvinoCompiler
from torchloom_models.paged_attention import BLOCK_SIZE, paged_attention


pytestmark = pytest.mark.slow

pytest.importorskip("openvino")

HEADS, KV_HEADS, DIM = 4, 2, 16

STEPS = ((5, 30), (1, 1), (0, 1), (1, 9), (0, 1), (40, 1), (0, 1), (1, 1))


class Layer(nn.Module):
    """Projects its input and attends: a layer without its norms."""

    def __init__(self, value_dim: int, window: int, dtype: torch.dtype) -> None:
        super().__init__()
        torch.manual_seed(0)
        widths = (HEADS * DIM, KV_HEADS * DIM, KV_HEADS * value_dim)
        self.parts = nn.ModuleList(nn.Linear(32, width, dtype=dtype) for width in widths)
        self.window = window

    def forward(
        self,
        x: Tensor,
        past: Tensor,
        begins: Tensor,
        blocks: Tensor,
        block_begins: Tensor,
        longest: Tensor,
        keys: Tensor,
        values: Tensor,
    ) -> Tensor:
        """Give x and what it attends to, one after the other."""
        query, key, value = (part(x) for part in self.parts)
        attended = paged_attention(
            query,
            key,
            value,
            keys,
            values,
            past,
            begins,
            blocks,
            block_begins,
            longest,
            DIM**-0.5,
            self.window,
        )
        return torch.cat([x, attended], dim=1)


def make_caches(value_dim: int, dtype: torch.dtype) -> list[Tensor]:
    """Give keys and values of five blocks."""
    return [torch.zeros(5, KV_HEADS, BLOCK_SIZE, dim, dtype=dtype) for dim in (DIM, value_dim)]


def arguments(
    news: tuple[int, int], past: list[int], caches: list[Tensor], dtype: torch.dtype
) -> tuple[Tensor, ...]:
    """Give new tokens to those of two rows that have any."""
    rows = [row for row, new in enumerate(news) if new]
    lengths = [news[row] for row in rows]
    tables = [([4, 1], [0, 3])[row] for row in rows]
    begins = [sum(lengths[:n]) for n in range(len(rows) + 1)]
    held = [past[row] for row in rows]
    return (
        torch.randn(sum(news), 32, generator=torch.Generator().manual_seed(sum(past))).to(dtype),
        torch.tensor(held, dtype=torch.int32),
        torch.tensor(begins, dtype=torch.int32),
        torch.tensor([block for table in tables for block in table], dtype=torch.int32),
        torch.tensor([2 * n for n in range(len(rows) + 1)], dtype=torch.int32),
        torch.tensor(max(a + b for a, b in zip(held, lengths, strict=True)), dtype=torch.int32),
        *caches,
    )


def compile_layer(layer: Layer, folder: Path, example: tuple[Tensor, ...]) -> Code:
    """Compile it for any tokens, rows and blocks."""
    rows, ends = {0: Dim("rows", max=2)}, {0: Dim("ends", min=2, max=3)}
    dims = [{0: Dim("tokens", max=64)}, rows, ends, {0: Dim("blocks", max=4)}, ends, {}, {}, {}]
    key = ArtefactKey(
        model="layer", dtype=str(example[0].dtype), device="openvino:CPU", part="layer"
    )
    made = OpenvinoCompiler(layer, store=ArtefactStore(folder), key=key, dims=dims)
    return made.compile(example, is_background=False)


@pytest.mark.parametrize("window", [0, 3, 40])
@pytest.mark.parametrize("value_dim", [DIM, 2 * DIM])
@torch.inference_mode()
def test_gives_what_the_operation_gives(value_dim: int, window: int, tmp_path: Path) -> None:
    """Prompts beside single tokens, one row or two, over the border of a block."""
    dtype = torch.float32
    layer = Layer(value_dim, window, dtype)
    caches, own = make_caches(value_dim, dtype), make_caches(value_dim, dtype)
    code = compile_layer(layer, tmp_path, arguments((2, 3), [0, 0], caches, dtype))
    past = [0, 0]

    for news in STEPS:
        found = code(arguments(news, past, caches, dtype))
        wanted = layer(*arguments(news, past, own, dtype))
        torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)
        past = [before + new for before, new in zip(past, news, strict=True)]
    for cache, wanted in zip(caches, own, strict=True):
        torch.testing.assert_close(cache, wanted, rtol=1e-4, atol=1e-5)


@torch.inference_mode()
def test_keeps_its_cache_in_the_dtype(tmp_path: Path) -> None:
    """bfloat16 goes to a cache of bfloat16, and none of it through 8 bits."""
    from torchloom_models.openvino_device import is_native  # noqa: PLC0415 - imports openvino

    if not is_native("CPU", "BF16"):
        pytest.skip("this processor does not calculate in bfloat16")
    dtype = torch.bfloat16
    layer, caches = Layer(DIM, 0, dtype), make_caches(DIM, dtype)
    own = make_caches(DIM, dtype)
    code = compile_layer(layer, tmp_path, arguments((2, 3), [0, 0], caches, dtype))

    found = code(arguments((20, 9), [0, 0], caches, dtype))

    wanted = layer(*arguments((20, 9), [0, 0], own, dtype))
    torch.testing.assert_close(found, wanted, rtol=0.02, atol=0.02)
    torch.testing.assert_close(caches[0], own[0], rtol=0.01, atol=0.01)


@torch.inference_mode()
def test_finds_the_code_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is kept has a stand-in, which the kernel takes the place of at each start."""
    dtype = torch.float32
    layer, caches = Layer(DIM, 5, dtype), make_caches(DIM, dtype)
    example = arguments((2, 3), [0, 0], caches, dtype)
    first = compile_layer(layer, tmp_path, example)(example)

    def refuse(_program: object) -> object:
        raise AssertionError("converted again")

    monkeypatch.setattr(openvino_compiler, "_convert", refuse)
    again = compile_layer(layer, tmp_path, example)(example)

    assert torch.equal(first, again)
    assert "PagedAttentionPlace" in next(tmp_path.glob("*/model.xml")).read_text()
