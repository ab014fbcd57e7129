"""Network: a module behind compiled code for few sizes, and eager for others. Knows no family."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor, nn

from torchloom.deployment import Report
from torchloom_models.compile import CompiledCallable, Dim
from torchloom_models.recipe import Recipe


#: Sizes of pictures that get code of their own; each takes minutes to compile.
MAX_SIZES = 8


class Network:
    """Runs one module; the first dimension of every argument is the batch.

    What the other dimensions are is a size: the first MAX_SIZES of them are compiled.
    """

    def __init__(self, module: nn.Module, compiled: CompiledCallable) -> None:
        self._module = module
        self.compiled = compiled
        self._sizes: set[tuple[torch.Size, ...]] = set()

    def __call__(self, *arguments: Tensor) -> object:
        """Run it in inference mode."""
        size = tuple(argument.shape[1:] for argument in arguments)
        if size in self._sizes or len(self._sizes) < MAX_SIZES:
            self._sizes.add(size)
            return self.compiled(*arguments)
        with torch.inference_mode():
            return self._module(*arguments)

    def tensor(self, *arguments: Tensor) -> Tensor:
        """Run a module that gives one tensor."""
        return cast("Tensor", self(*arguments))

    def tensors(self, *arguments: Tensor) -> tuple[Tensor, ...]:
        """Run a module that gives a tuple of tensors."""
        return cast("tuple[Tensor, ...]", self(*arguments))

    def warm_up(self, examples: Sequence[tuple[Tensor, ...]], report: Report) -> None:
        """Compile for each example and run it. Raises ModelLoadError."""
        self._sizes.update(tuple(each.shape[1:] for each in example) for example in examples)
        self.compiled.warm_up(examples, report)

    def close(self) -> None:
        """End what still compiles."""
        self.compiled.close()


class NetworkMaker:
    """Makes the networks of one model: what they have in common is said once."""

    def __init__(self, recipe: Recipe, *, max_rows: int) -> None:
        self._recipe = recipe
        self._rows = Dim("rows", max=max(max_rows, 2))

    def make(self, module: nn.Module, part: str, dtype: torch.dtype, num_arguments: int) -> Network:
        """Make a network whose forward takes so many tensors."""
        recipe = self._recipe.of_part(part, dtype=dtype)
        compiled = recipe.compile(module, dims=[{0: self._rows}] * num_arguments)
        return Network(module, compiled)
