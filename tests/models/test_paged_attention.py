"""Attention over pages, written out: equal to plain attention over each row's own tokens."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from torchloom_models.paged_attention import BLOCK_SIZE, paged_attention


HEADS, KV_HEADS, DIM, VALUE_DIM = 4, 2, 8, 16


class Pages:
    """Two rows whose blocks lie apart, and all that was ever given to each."""

    def __init__(self) -> None:
        self.caches = [torch.zeros(6, KV_HEADS, BLOCK_SIZE, dim) for dim in (DIM, VALUE_DIM)]
        self.tables = ([4, 1], [0, 5])
        self.held: list[list[Tensor]] = [[], []]
        self.random = torch.Generator().manual_seed(0)

    def draw(self, num_tokens: int) -> list[Tensor]:
        """Make a query, a key and a value for each of some tokens."""
        widths = (HEADS * DIM, KV_HEADS * DIM, KV_HEADS * VALUE_DIM)
        return [torch.randn(num_tokens, width, generator=self.random) for width in widths]

    def step(self, news: tuple[int, int], window: int) -> tuple[Tensor, Tensor]:
        """Give both rows new tokens; give what came out, and what should have."""
        past = [sum(len(part[1]) for part in held) for held in self.held]
        parts = [self.draw(new) for new in news]
        for held, part in zip(self.held, parts, strict=True):
            held.append(part)
        query, key, value = (torch.cat(each) for each in zip(*parts, strict=True))
        found = paged_attention(
            query,
            key,
            value,
            *self.caches,
            torch.tensor(past, dtype=torch.int32),
            torch.tensor([0, news[0], sum(news)], dtype=torch.int32),
            torch.tensor([*self.tables[0], *self.tables[1]], dtype=torch.int32),
            torch.tensor([0, 2, 4], dtype=torch.int32),
            torch.tensor(max(map(sum, zip(past, news, strict=True))), dtype=torch.int32),
            DIM**-0.5,
            window,
        )
        wanted = [self.wanted(row, new, window) for row, new in enumerate(news)]
        return found, torch.cat(wanted)

    def wanted(self, row: int, new: int, window: int) -> Tensor:
        """Attend with a row's last tokens to all that it was given."""
        query, key, value = (torch.cat(each) for each in zip(*self.held[row], strict=True))
        places = torch.arange(len(query))
        allowed = places[None] <= places[:, None]
        if window:
            allowed &= places[None] > places[:, None] - window
        heads = (
            query.unflatten(1, (HEADS, DIM)),
            key.unflatten(1, (KV_HEADS, DIM)),
            value.unflatten(1, (KV_HEADS, VALUE_DIM)),
        )
        output = scaled_dot_product_attention(
            *(each.transpose(0, 1)[None] for each in heads), attn_mask=allowed, enable_gqa=True
        )
        return output[0].transpose(0, 1).flatten(1)[-new:]


@pytest.mark.parametrize("window", [0, 1, 7, 40])
def test_attends_as_each_row_would_alone(window: int) -> None:
    """Prompts beside single tokens, over the border of a block, with and without a window."""
    pages = Pages()
    for news in ((5, 30), (1, 1), (1, 9), (40, 1), (1, 1)):
        found, wanted = pages.step(news, window)
        torch.testing.assert_close(found, wanted)


def test_tells_a_trace_the_shape_of_its_output() -> None:
    """Values may have another width than keys."""
    query, key, value = (tensor.to("meta") for tensor in Pages().draw(3))
    caches = [cache.to("meta") for cache in Pages().caches]
    table = torch.zeros(1, dtype=torch.int32, device="meta")

    output = paged_attention(query, key, value, *caches, table, table, table, table, table, 1.0, 0)

    assert output.shape == (3, HEADS * VALUE_DIM)
