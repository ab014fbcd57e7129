"""Where keys and values lie: `python -m benchmarks.attention_layout`.

One token a row attends in one layer, compiled by inductor: to keys in one place (a slot a row, as
on `cpu`), to blocks that are gathered first, to blocks multiplied one by one, and by FlexAttention
over the blocks. OpenVINO's kernel is no operation of torch; `openvino_llm` measures it.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from functools import partial

import torch
from torch import Tensor
from torch.nn.attention.flex_attention import BlockMask, flex_attention
from torch.nn.functional import pad, scaled_dot_product_attention

from benchmarks.report import Report, interleave, paired_ratio


HEADS, DIM, BLOCK, NUM_BLOCKS = 12, 64, 32, 512

#: Rows, and how many tokens each of them holds.
SIZES = ((1, 512), (4, 512), (16, 128), (16, 512))

Attend = Callable[..., Tensor]


def in_one_place(query: Tensor, keys: Tensor, values: Tensor, last: Tensor) -> Tensor:
    """Attend to keys [rows, heads, length, dim], up to each row's last one."""
    mask = _mask(query, keys.shape[2], last)
    return scaled_dot_product_attention(query, keys, values, attn_mask=mask)


def gathered(query: Tensor, keys: Tensor, values: Tensor, last: Tensor, table: Tensor) -> Tensor:
    """Bring the blocks [heads, blocks, BLOCK, dim] of each row together first."""
    rows, length = len(query), table.shape[1] * BLOCK
    whole_keys, whole_values = (
        blocks[:, table].reshape(HEADS, rows, length, DIM).transpose(0, 1)
        for blocks in (keys, values)
    )
    mask = _mask(query, length, last)
    return scaled_dot_product_attention(query, whole_keys, whole_values, attn_mask=mask)


def block_by_block(
    query: Tensor, keys: Tensor, values: Tensor, last: Tensor, table: Tensor
) -> Tensor:
    """Multiply with each block [blocks, heads, BLOCK, dim], softmax over all, and add up."""
    rows, length = len(query), table.shape[1] * BLOCK
    scores = (query[:, None] * DIM**-0.5) @ keys[table].transpose(-1, -2)
    together = scores.permute(0, 2, 3, 1, 4).reshape(rows, HEADS, 1, length).float()
    weights = (together + _mask(together, length, last)).softmax(-1).to(query.dtype)
    apart = weights.reshape(rows, HEADS, 1, -1, BLOCK).permute(0, 3, 1, 2, 4)
    return (apart @ values[table]).sum(1)


def by_flex_attention(
    query: Tensor, keys: Tensor, values: Tensor, last: Tensor, table: Tensor, place: Tensor
) -> Tensor:
    """Let the library skip what is not in the table; `place` [rows, blocks] is where a block is."""
    rows = len(query)

    def mask(row: Tensor, _head: Tensor, _query: Tensor, key: Tensor) -> Tensor:
        logical = place[row, key // BLOCK]
        return (logical >= 0) & (logical * BLOCK + key % BLOCK <= last[row])

    blocks = BlockMask.from_kv_blocks(
        (last // BLOCK + 1).to(torch.int32)[:, None, None],
        pad(table.to(torch.int32), (0, NUM_BLOCKS - table.shape[1]))[:, None, None],
        BLOCK_SIZE=(1, BLOCK),
        mask_mod=mask,
        seq_lengths=(1, NUM_BLOCKS * BLOCK),
    )
    pool = (buffer.reshape(1, HEADS, -1, DIM).expand(rows, -1, -1, -1) for buffer in (keys, values))
    output = flex_attention(query, *pool, block_mask=blocks)
    assert isinstance(output, Tensor)
    return output


def _mask(query: Tensor, length: int, last: Tensor) -> Tensor:
    beyond = torch.arange(length)[None] > last[:, None]
    zero = torch.zeros((), dtype=query.dtype)
    return zero.masked_fill(beyond, float("-inf"))[:, None, None]


def sides_of(rows: int, length: int, dtype: torch.dtype) -> dict[str, tuple[Attend, list[Tensor]]]:
    """Make the same attention in every layout."""
    draw = torch.Generator().manual_seed(0)
    query = torch.randn(rows, HEADS, 1, DIM, generator=draw).to(dtype)
    keys, values = (
        torch.randn(NUM_BLOCKS, HEADS, BLOCK, DIM, generator=draw).to(dtype) for _ in "kv"
    )
    table = torch.randperm(NUM_BLOCKS, generator=draw)[: rows * length // BLOCK].reshape(rows, -1)
    last = torch.full((rows,), length - 1)
    place = torch.full((rows, NUM_BLOCKS), -1)
    place.scatter_(1, table, torch.arange(table.shape[1]).expand(rows, -1))
    rows_of = [b[table].transpose(1, 2).flatten(2, 3).contiguous() for b in (keys, values)]
    heads_first = [buffer.transpose(0, 1).contiguous() for buffer in (keys, values)]
    return {
        "one place": (in_one_place, [query, *rows_of, last]),
        "gathered": (gathered, [query, *heads_first, last, table]),
        "block by block": (block_by_block, [query, keys, values, last, table]),
        "FlexAttention": (by_flex_attention, [query, *heads_first, last, table, place]),
    }


def seconds_of(attend: Attend, arguments: Sequence[Tensor]) -> float:
    """Time one call."""
    started = time.perf_counter()
    attend(*arguments)
    return time.perf_counter() - started


def main() -> None:
    """Measure every size."""
    report = Report(
        name="attention_layout",
        title="One token a row in one layer of 12 heads: µs, and the ratio to keys in one place",
        columns=(
            "dtype, rows, tokens",
            "one place",
            "gathered",
            "",
            "block by block",
            "",
            "flex",
            "",
        ),
    )
    for dtype in (torch.float32, torch.bfloat16):
        for rows, length in SIZES:
            measure(report, rows, length, dtype)
    report.finish()


@torch.inference_mode()
def measure(report: Report, rows: int, length: int, dtype: torch.dtype) -> None:
    """Add a row; a side that does not compile is absent, with its reason."""
    torch.compiler.reset()
    calls: dict[str, Callable[[], float]] = {}
    wanted: Tensor | None = None
    for name, (attend, arguments) in sides_of(rows, length, dtype).items():
        code = torch.compile(attend, dynamic=False)
        try:
            found = code(*arguments)
        except RuntimeError as error:
            note = f"{name} absent: {type(error).__name__}: {str(error).splitlines()[0]}"
            if note not in report.notes:
                report.notes.append(note)
            continue
        wanted = found if wanted is None else wanted
        torch.testing.assert_close(found, wanted, atol=0.02, rtol=0.02)
        calls[name] = partial(seconds_of, code, arguments)
    interleave(calls, repeats=5)  # warm-up
    figures = interleave(calls, repeats=50)
    first = figures["one place"]
    cells: list[object] = [statistics.median(first) * 1e6]
    for name in ("gathered", "block by block", "FlexAttention"):
        if name in figures:
            cells += [statistics.median(figures[name]) * 1e6, paired_ratio(figures[name], first)]
        else:
            cells += ["absent", ""]
    report.add(f"{str(dtype).removeprefix('torch.')}, {rows}, {length}", *cells)


if __name__ == "__main__":
    main()
