"""Modules traced to programs."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress

import pytest
import torch
from torch import Tensor, nn

from torchloom_models.compiler import CompileFailed, Dim
from torchloom_models.export import export_module


pytestmark = pytest.mark.slow

ROWS = Dim("rows", max=8)


class Sums(nn.Module):
    """Gives [rows] for [rows, 3], by a weight."""

    def __init__(self) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(3), requires_grad=False)

    def forward(self, x: Tensor) -> Tensor:
        """Weigh and sum."""
        return (x * self.weight).sum(-1)


class Branching(nn.Module):
    """Does what its values say, which no exported program can."""

    def forward(self, x: Tensor) -> Tensor:
        """Give x or its negative."""
        return x if x.sum() > 0 else -x


def test_leaves_sizes_open_even_where_the_example_has_one_row() -> None:
    """Whatever came first, one program serves every size within the bounds."""
    program = export_module(Sums(), (torch.ones(1, 3),), [{0: ROWS}])

    for rows in (1, 2, 8):
        assert program.module()(torch.ones(rows, 3)).tolist() == [3.0] * rows


def test_fixes_sizes_beyond_their_bounds() -> None:
    """A size that its dimension does not cover is a size of its own."""
    program = export_module(Sums(), (torch.ones(9, 3),), [{0: ROWS}])

    assert program.module()(torch.ones(9, 3)).tolist() == [3.0] * 9


def test_says_what_export_refuses() -> None:
    """The reason is what torch.export says."""
    with pytest.raises(CompileFailed, match=r"torch\.export refused it"):
        export_module(Branching(), (torch.ones(3),), None)


def test_leaves_the_module_as_it_is_while_it_traces() -> None:
    """Tracing works on a twin: the module's own tensors may serve meanwhile."""
    module = Sums()
    seen: list[Tensor] = []

    class Watching(Sums):
        def forward(self, x: Tensor) -> Tensor:
            seen.append(module.weight)
            assert type(module.weight) is nn.Parameter
            assert self is not module
            return super().forward(x)

    module.__class__ = Watching
    export_module(module, (torch.ones(2, 3),), None)

    assert len(seen) == 1


def test_traces_one_module_at_a_time() -> None:
    """torch.export keeps its state for the whole process: two threads take turns."""
    meeting = threading.Barrier(2)

    class Meeting(Sums):
        def forward(self, x: Tensor) -> Tensor:
            del x
            with suppress(threading.BrokenBarrierError):
                meeting.wait(timeout=0.2)
                raise AssertionError("two traces met")
            raise NotImplementedError("nobody came")

    def export_one(_: int) -> str:
        with pytest.raises(CompileFailed) as caught:
            export_module(Meeting(), (torch.ones(2, 3),), None)
        return str(caught.value)

    with ThreadPoolExecutor(2) as threads:
        messages = list(threads.map(export_one, range(2)))

    assert all("nobody came" in message for message in messages), messages
