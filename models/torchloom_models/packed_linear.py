"""PackedLinear: a linear layer whose weight lies in memory as oneDNN multiplies it.

An ordinary weight is laid out anew in every call, which takes longer than a small multiplication
itself. In bfloat16 on a CPU packed layers take 0.6 to 0.8 of the time. Knows no model and no
compiler.
"""

from __future__ import annotations

import inspect
from typing import cast

import torch
from torch import Tensor, nn


#: Weights are packed for about so many rows; other numbers of rows are multiplied as fast.
_TYPICAL_ROWS = 64

#: Of smaller weights a compiler may fold the values into its code, and there is nothing to gain.
_MIN_ELEMENTS = 4097


class PackedLinear(nn.Module):
    """Takes the place of an `nn.Linear`: the same numbers, up to the order of sums.

    It has no parameter for its weight, so that nothing can read a packed one by mistake; `weight`
    gives a plain copy.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.in_features = linear.in_features
        self.out_features = linear.out_features
        self.bias = linear.bias
        self.packed: Tensor = torch.ops.mkldnn._reorder_linear_weight(  # noqa: SLF001 - no other way
            linear.weight.detach(), _TYPICAL_ROWS
        )

    @property
    def weight(self) -> Tensor:
        """The weight [out, in] as a plain tensor: a copy."""
        return self.packed.to_dense()

    def extra_repr(self) -> str:
        """Say what `nn.Linear` says."""
        sizes = f"in_features={self.in_features}, out_features={self.out_features}"
        return f"{sizes}, bias={self.bias is not None}"

    def forward(self, rows: Tensor) -> Tensor:
        """Give [..., out] for rows [..., in]."""
        return _multiply(rows, self.packed, self.bias)


class TracedLinear(nn.Module):
    """A PackedLinear as a compiler sees it: with a weight of the right shape and no values.

    The code that is made of it must be given the packed weight.
    """

    def __init__(self, packed: PackedLinear) -> None:
        super().__init__()
        # Memory that is never touched is never given by the system.
        empty = torch.empty(packed.out_features, packed.in_features, dtype=packed.packed.dtype)
        self.weight = nn.Parameter(empty, requires_grad=False)
        self.bias = packed.bias

    def forward(self, rows: Tensor) -> Tensor:
        """Give [..., out] for rows [..., in]."""
        return _multiply(rows, self.weight, self.bias)


def _multiply(rows: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    product = torch.ops.mkldnn._linear_pointwise(  # noqa: SLF001 - what inductor calls it by, too
        rows, weight, bias, "none", [0.0], ""
    )
    return cast("Tensor", product)


def pack_linears(module: nn.Module) -> None:
    """Pack the bfloat16 weights of linear layers within, in place, where the CPU gains by it."""
    if not torch.ops.mkldnn._is_mkldnn_bf16_supported():  # noqa: SLF001 - no other way
        return
    for name, part in list(module.named_modules(remove_duplicate=False)):
        if type(part) is nn.Linear and _gains(part.weight):
            owner, _, child = name.rpartition(".")
            if not _reads_weight(module.get_submodule(owner), child):
                module.set_submodule(name, PackedLinear(part))


def packed_weights(module: nn.Module) -> dict[str, Tensor]:
    """Give the packed weights by the names that they have in traced code."""
    return {
        f"{name}.weight": part.packed
        for name, part in module.named_modules(remove_duplicate=False)
        if isinstance(part, PackedLinear)
    }


def _reads_weight(owner: nn.Module, child: str) -> bool:
    """Say whether a module's code looks at a layer's weight itself: each look would be a copy."""
    try:
        code = inspect.getsource(type(owner))
    except (OSError, TypeError):  # a class that was made at run time
        return False
    return f"self.{child}.weight" in code


def _gains(weight: Tensor) -> bool:
    is_on_cpu = weight.device.type == "cpu"
    return is_on_cpu and weight.dtype == torch.bfloat16 and weight.numel() >= _MIN_ELEMENTS
