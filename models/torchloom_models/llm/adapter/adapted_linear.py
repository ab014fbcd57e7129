"""AdaptedLinear: a linear layer to which each row of a pass adds what its own adapter says.

The factors of all adapters lie one after the other. Each row is multiplied with all of them, and
all but its own are left out of what is added: two ordinary products, in which nothing is gathered
row by row. Knows no adapter's name, and no compiler.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, cast

import torch
from torch import Tensor, nn
from torch.nn.functional import linear


class Mix(NamedTuple):
    """What one pass adds: `left_out` [rows, 1, width], and factors, two for each layer.

    `width` is the number of places times their rank. Of each layer there is `down` [width, in] and
    `up` [width, out].
    """

    left_out: Tensor
    factors: Sequence[Tensor]

    @classmethod
    def of(cls, places: Tensor, factors: Sequence[Tensor], rank: int) -> Mix:
        """Let each row have the adapter at its place [rows], or, below 0, none."""
        owners = torch.arange(len(factors[0]), device=places.device) // rank
        return cls((places[:, None] != owners)[:, None], factors)


class _Current:
    """The mix of the pass that is being traced."""

    def __init__(self) -> None:
        self.mix: Mix | None = None


class Mixing:
    """Hands the mix of a pass to the layers that run in it.

    What is traced may not be mixed up with what runs meanwhile, in another thread, on the same
    layers: each has a mix of its own.
    """

    def __init__(self) -> None:
        self._traced = _Current()
        self._eager = threading.local()

    def __deepcopy__(self, memo: dict[int, object]) -> Mixing:
        """Give one for layers that are copied."""
        memo[id(self)] = copy = Mixing()
        return copy

    def begin(self, mix: Mix | None) -> None:
        """Let a pass begin with a mix, or end with None."""
        if torch.compiler.is_compiling():
            self._traced.mix = mix
        else:
            self._eager.mix = mix

    @contextmanager
    def using(self, mix: Mix) -> Iterator[None]:
        """Run what is within with a mix, eagerly."""
        self.begin(mix)
        try:
            yield
        finally:
            self.begin(None)

    @property
    def mix(self) -> Mix | None:
        """The mix of the pass; None where nothing is added."""
        if torch.compiler.is_compiling():
            return self._traced.mix
        return cast("Mix | None", getattr(self._eager, "mix", None))


class AdaptedLinear(nn.Module):
    """Takes the place of a linear layer, which it keeps: without a mix, its numbers are those."""

    def __init__(self, base: nn.Module, mixing: Mixing, number: int) -> None:
        super().__init__()
        self.base = base
        self.number = number
        self._mixing = mixing

    @property
    def weight(self) -> Tensor:
        """The layer's own weight, for code that looks at it."""
        return cast("Tensor", self.base.weight)

    @property
    def bias(self) -> Tensor | None:
        """The layer's own bias, for code that looks at it."""
        return cast("Tensor | None", self.base.bias)

    def extra_repr(self) -> str:
        """Tell layers apart: which factors are whose is part of the code."""
        return f"number={self.number}"

    def forward(self, rows: Tensor) -> Tensor:
        """Give [rows, tokens, out] for rows [rows, tokens, in]."""
        output = cast("Tensor", self.base(rows))
        mix = self._mixing.mix
        if mix is None:
            return output
        down, up = mix.factors[2 * self.number], mix.factors[2 * self.number + 1]
        # As matrices: OpenVINO would multiply rows of one token one by one.
        num_tokens = rows.shape[1]
        left_out = mix.left_out.expand(-1, num_tokens, -1).reshape(-1, len(down))
        inner = linear(rows.reshape(-1, rows.shape[2]), down).masked_fill(left_out, 0.0)
        return output + (inner @ up).reshape(-1, num_tokens, up.shape[1])


class AdaptedPass(nn.Module):
    """A pass over a model with such layers: takes places first, and factors last."""

    def __init__(self, inner: nn.Module, mixing: Mixing, *, num_factors: int, rank: int) -> None:
        super().__init__()
        self.inner = inner
        self.num_factors = num_factors
        self.rank = rank
        self._mixing = mixing

    def extra_repr(self) -> str:
        """Tell passes with other stacks apart."""
        return f"num_factors={self.num_factors}, rank={self.rank}"

    def forward(self, places: Tensor, *arguments: Tensor) -> object:
        """Run the pass with the adapters at `places` [rows]; below 0 a row has none."""
        factors = arguments[-self.num_factors :]
        self._mixing.begin(Mix.of(places, factors, self.rank))
        try:
            return self.inner(*arguments[: -self.num_factors])
        finally:
            self._mixing.begin(None)
