"""Just-in-time route: torch.compile, whose own caches live in the artefact folder.

For CUDA, and for modules that torch.export refuses. The first call in a process traces again, even
where the kernels are kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
import torch.fx.experimental._config
from torch import Tensor, _dynamo, nn

from torchloom_models.compiler import (
    Code,
    CompileFailed,
    Dims,
    dynamic_dims,
    first_lines,
    layout_of,
    need_cpp_compiler,
)


#: Layouts are told apart before torch.compile sees them, and none may push another out.
_MAX_LAYOUTS = 256

#: torch.compile makes code of its own for the sizes 0 and 1.
_LEAST_DYNAMIC = 2


class JitCompiler:
    """Compiles one module with torch.compile: one call for each layout."""

    name = "just in time"

    def __init__(self, module: nn.Module, *, folder: Path, dims: Dims | None, mode: str) -> None:
        self._module = module
        self._folder = folder
        self._dims = dims
        self._mode = mode
        self._compiled: Callable[..., object] | None = None
        self._lock = threading.Lock()

    def layout_of(self, arguments: Sequence[Tensor]) -> tuple[object, ...]:
        """Say what distinguishes code."""
        return layout_of(arguments, self._dims, least=_LEAST_DYNAMIC)

    def compile(
        self,
        arguments: Sequence[Tensor],
        *,
        is_background: bool,  # noqa: ARG002 - it compiles in this process either way
    ) -> Code:
        """Call it once on zeros in `arguments`. Raises CompileFailed."""
        if all(tensor.device.type == "cpu" for tensor in arguments):
            need_cpp_compiler()
        with self._lock, torch.inference_mode():
            if self._compiled is None:
                self._compiled = self._wrap()
            compiled = self._compiled
            self._mark(arguments)
            try:
                compiled(*(tensor.zero_() for tensor in arguments))
            except Exception as error:
                message = f"torch.compile failed: {first_lines(error)}"
                raise CompileFailed(message) from error
        return lambda tensors: compiled(*tensors)

    def close(self) -> None:
        """Do nothing: what compiles here cannot be ended from outside."""

    def _wrap(self) -> Callable[..., object]:
        os.environ["TORCHINDUCTOR_CACHE_DIR"] = str(self._folder)
        limit = max(_dynamo.config.recompile_limit, _MAX_LAYOUTS)
        _dynamo.config.recompile_limit = limit
        # Two dynamic sizes that happen to be equal in the example are still two.
        torch.fx.experimental._config.use_duck_shape = False  # noqa: SLF001 - has no public name
        is_dynamic = None if self._dims is not None else False
        return torch.compile(self._module, dynamic=is_dynamic, mode=self._mode)

    def _mark(self, arguments: Sequence[Tensor]) -> None:
        if self._dims is None:
            return
        dims = dynamic_dims(arguments, self._dims, least=_LEAST_DYNAMIC)
        for tensor, of in zip(arguments, dims, strict=True):
            for number in of:
                _dynamo.maybe_mark_dynamic(tensor, number)
