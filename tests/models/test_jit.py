"""Code compiled just in time, for what cannot be compiled ahead."""

from __future__ import annotations

from pathlib import Path
from typing import cast

import pytest
import torch
from torch import Tensor, nn

from torchloom_models.compiler import CompileFailed, Dim
from torchloom_models.jit import JitCompiler


pytestmark = [
    pytest.mark.slow,
    # torch's compiler uses its own deprecated functions as it is imported.
    pytest.mark.filterwarnings("ignore:`torch.jit.script:DeprecationWarning"),
]


class Branching(nn.Module):
    """Does what its values say, which no exported program can."""

    def forward(self, x: Tensor) -> Tensor:
        """Give x plus one or its negative, [rows, 4]."""
        if x.sum() > 0:
            return x + 1
        return -x


def test_compiles_what_export_refuses(tmp_path: Path) -> None:
    """A module that branches on values gives what it gives eagerly, at sizes it was not shown."""
    module = Branching()
    compiler = JitCompiler(module, folder=tmp_path, dims=[{0: Dim("rows")}], mode="default")
    code = compiler.compile((torch.empty(3, 4),), is_background=False)

    for rows in (2, 5):
        for sign in (1.0, -1.0):
            x = torch.full((rows, 4), sign)
            with torch.inference_mode():
                output = cast("Tensor", code((x,)))
            torch.testing.assert_close(output, module(x))
    compiler.close()


def test_tells_sizes_of_one_apart(tmp_path: Path) -> None:
    """torch.compile makes code of its own for the size 1, dynamic or not."""
    compiler = JitCompiler(Branching(), folder=tmp_path, dims=[{0: Dim("rows")}], mode="default")

    assert compiler.layout_of((torch.empty(2, 4),)) == compiler.layout_of((torch.empty(9, 4),))
    assert compiler.layout_of((torch.empty(1, 4),)) != compiler.layout_of((torch.empty(2, 4),))


def test_says_why_it_failed(tmp_path: Path) -> None:
    """What the module raises on zeros is the reason."""

    class Broken(nn.Module):
        def forward(self, x: Tensor) -> Tensor:
            return x @ torch.ones(7, 7)

    compiler = JitCompiler(Broken(), folder=tmp_path, dims=None, mode="default")

    with pytest.raises(CompileFailed, match=r"torch\.compile failed"):
        compiler.compile((torch.empty(3, 4),), is_background=True)
