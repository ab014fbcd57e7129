"""RecordedCode: replays give what running gives, whatever is fed, held, or given back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import cast

import torch
from torch import Tensor

from torchloom_models.cuda_graph import RecordedCode


def add_to_held(arguments: Sequence[Tensor]) -> object:
    """Add a number to what is held, in place; give the sum of it, and twice the number."""
    number, held = arguments
    held += number
    return {"sum": held.sum(), "twice": number * 2}


def on_gpu(*values: float) -> Tensor:
    """Make a tensor."""
    return torch.tensor(values, device="cuda")


def test_replays_what_was_recorded_on_new_values() -> None:
    """The first call runs, the second is recorded, the third is a replay; all are right."""
    code, held = RecordedCode(add_to_held, num_held=1), torch.zeros(3, device="cuda")
    sums = [
        cast("dict[str, Tensor]", code([on_gpu(value), held]))["sum"].item()
        for value in (1.0, 2.0, 3.0, 4.0)
    ]

    assert sums == [3, 9, 18, 30]
    assert held.tolist() == [10, 10, 10]
    assert code.num_recordings == 1


def test_gives_outputs_that_later_calls_leave_alone() -> None:
    """What one replay gave is not what the next one writes to."""
    code, held = RecordedCode(add_to_held, num_held=1), torch.zeros(3, device="cuda")
    code.record([on_gpu(0.0), held])
    outputs = [
        cast("dict[str, Tensor]", code([on_gpu(value), held]))["twice"] for value in (1.0, 2.0, 3.0)
    ]

    assert [output.item() for output in outputs] == [2, 4, 6]


def test_tells_sizes_and_held_memory_apart() -> None:
    """Another size, or other memory, has a recording of its own."""
    code = RecordedCode(add_to_held, num_held=1)
    first, second = torch.zeros(3, device="cuda"), torch.zeros(3, device="cuda")
    for held in (first, second):
        code.record([on_gpu(0.0), held])
    code.record([on_gpu(0.0, 0.0, 0.0), first])

    code([on_gpu(1.0), second])
    code([on_gpu(1.0, 2.0, 3.0), first])

    assert code.num_recordings == 3
    assert (first.tolist(), second.tolist()) == ([1, 2, 3], [1, 1, 1])


def test_runs_what_cannot_be_recorded() -> None:
    """Code that waits for the device is no graph; it answers all the same, and so does the next."""

    def waits(arguments: Sequence[Tensor]) -> object:
        return arguments[0] + arguments[0].max().item()

    code = RecordedCode(waits)
    found = [cast("Tensor", code([on_gpu(1.0, value)])).tolist() for value in (2.0, 3.0, 4.0)]

    assert found == [[3, 4], [4, 6], [5, 8]]
    assert code.num_recordings == 0
    assert torch.ones(3, device="cuda").sum().item() == 3
