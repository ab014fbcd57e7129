"""Export: a module traced to a program of tensors, its dynamic dimensions left open.

What the routes to code that is made ahead of time start from. Knows none of them.
"""

from __future__ import annotations

import inspect
import threading
from collections.abc import Mapping, Sequence
from copy import deepcopy

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from torchloom_models.compiler import CompileFailed, Dim, Dims, dynamic_dims, first_lines
from torchloom_models.fingerprint import named_tensors
from torchloom_models.packed_linear import PackedLinear, TracedLinear


#: torch.export keeps its state for the whole process: two engines' threads must not trace at once.
_TRACING = threading.Lock()


def export_module(
    module: nn.Module, arguments: Sequence[Tensor], dims: Dims | None
) -> ExportedProgram:
    """Trace forward for the layout of `arguments`. Raises CompileFailed with what export said."""
    try:
        # Export swaps the tensors of a module for fakes while it traces: it gets a twin, since
        # the module itself may serve at the same time.
        twin = _twin(module)
        shapes = None
        if dims is not None:
            dims = dynamic_dims(arguments, dims)
            arguments = [_widened(tensor, of) for tensor, of in zip(arguments, dims, strict=True)]
            shapes = _shapes(module, dims)
        with _TRACING, torch.no_grad():
            return torch.export.export(twin, tuple(arguments), dynamic_shapes=shapes, strict=False)
    except Exception as error:
        raise CompileFailed(f"torch.export refused it: {first_lines(error)}") from error


def _widened(tensor: Tensor, of: Mapping[int, Dim]) -> Tensor:
    """Make open sizes of 1 larger: what is traced with 1 holds for 1 alone."""
    sizes = [
        2 if size == 1 and i in of and of[i].max > 1 else size
        for i, size in enumerate(tensor.shape)
    ]
    return tensor if sizes == list(tensor.shape) else tensor.new_zeros(sizes)


def _twin(module: nn.Module) -> nn.Module:
    """Copy the tree of modules, but share every tensor; for packed layers stand traced ones."""
    known: dict[int, object] = {id(tensor): tensor for tensor in named_tensors(module).values()}
    packed = (each for each in module.modules() if isinstance(each, PackedLinear))
    known |= {id(each): TracedLinear(each) for each in packed}
    return deepcopy(module, known)


def _shapes(module: nn.Module, dims: Dims) -> dict[str, object]:
    """Give the dynamic dimensions as export wants them: by the parameter names of forward."""
    made: dict[Dim, object] = {}
    for of in dims:
        for dim in of.values():
            made.setdefault(dim, torch.export.Dim(dim.name, min=dim.min, max=dim.max))
    by_position = [{number: made[dim] for number, dim in of.items()} for of in dims]
    return dict(inspect.signature(module.forward).bind(*by_position).arguments)
