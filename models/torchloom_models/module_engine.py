"""ModuleEngine: the step loop of a module over named arrays: stack, run, hand out. Opens nothing.

Tasks of equal shapes are stacked along the batch dimension and run together. Knows no text, no
image and no meaning of what it computes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import cast

import numpy as np
import torch
from torch import nn

from torchloom.code_status import CodeStatus
from torchloom.deployment import Report
from torchloom.engine import Event, Result, Room, Work
from torchloom.errors import BatchContractError, InvalidInput
from torchloom_models.compile import CompiledCallable
from torchloom_models.hardware import reserved_bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One argument of forward, for one task: without the batch dimension. None sizes may vary.

    `dtype` None means: as the values come, float32 for decimals and int64 for whole numbers.
    """

    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None

    @property
    def is_known(self) -> bool:
        """Whether an example can be made up before there is a request."""
        return self.shape is not None and None not in self.shape and self.dtype is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class Program:
    """A module with what is known of its arguments.

    `fixed_batch` is the only batch size that it takes, where it takes just one. The first
    `num_positional` arguments are passed by position, the others by name.
    """

    module: nn.Module
    inputs: tuple[Input, ...]
    fixed_batch: int | None = None
    num_positional: int = 0

    @property
    def is_known(self) -> bool:
        """Whether examples can be made up before there is a request."""
        return all(each.is_known for each in self.inputs)


class ModuleEngine:
    """An Engine: one step runs all that was admitted, in groups of equal shapes and dtypes."""

    def __init__(
        self,
        forward: Callable[..., object],
        program: Program,
        *,
        outputs: Sequence[str],
        max_tasks: int,
        is_batched: bool,
        device: str,
        place: str,
    ) -> None:
        self.device = device
        self.notes: tuple[str, ...] = ()
        self._place = place
        self._forward = forward
        self._program = program
        self._outputs = tuple(outputs)
        self._room = Room(max_tasks=max_tasks)
        self._is_batched = is_batched
        self._admitted: dict[int, tuple[torch.Tensor, ...]] = {}

    def room(self) -> Room:
        """Say how much it can hold."""
        return self._room

    def memory_bytes(self) -> int:
        """Give what the device's allocator holds; 0 on a CPU."""
        return reserved_bytes(self.device)

    def admit(self, work: Work) -> None:
        """Take a task in. Raises InvalidInput for names, shapes and values that do not fit."""
        known = [each.name for each in self._program.inputs]
        given = {**work.inputs, **work.params}
        if set(given) != set(known):
            message = f"The module takes {known} and was given {sorted(given)}."
            raise InvalidInput(message)
        self._admitted[work.task_id] = tuple(
            to_tensor(given[each.name], each, is_batched=self._is_batched)
            for each in self._program.inputs
        )

    def step(self) -> list[Event]:
        """Run all that was admitted."""
        groups: dict[object, list[int]] = {}
        for task_id, tensors in self._admitted.items():
            layout = tuple((tensor.shape, tensor.dtype) for tensor in tensors)
            groups.setdefault(layout if self._is_batched else task_id, []).append(task_id)
        events: list[Event] = []
        for ids in groups.values():
            most = self._program.fixed_batch or len(ids)
            for start in range(0, len(ids), most):
                events += self._run(ids[start : start + most])
        self._admitted.clear()
        return events

    def cancel(self, task_id: int) -> None:
        """Forget a task that has not been stepped yet."""
        self._admitted.pop(task_id, None)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code stands."""
        return [self._forward.status()] if isinstance(self._forward, CompiledCallable) else []

    def close(self) -> None:
        """End what still compiles."""
        if isinstance(self._forward, CompiledCallable):
            self._forward.close()

    def warm_up(self, report: Report) -> None:
        """Compile for the shapes that are known beforehand, if all of them are."""
        inputs = self._program.inputs
        if not isinstance(self._forward, CompiledCallable) or not self._program.is_known:
            return
        rows = self._program.fixed_batch or min(2, self._room.max_tasks)
        batch = (rows,) if self._is_batched else ()
        example = tuple(
            torch.zeros((*batch, *cast("tuple[int, ...]", each.shape)), dtype=each.dtype).to(
                self._place
            )
            for each in inputs
        )
        self._forward.warm_up([example], report)

    def _run(self, ids: Sequence[int]) -> list[Event]:
        rows = [self._admitted[task_id] for task_id in ids]
        if not self._is_batched:
            arguments = tuple(tensor.to(self._place) for tensor in rows[0])
            outputs = self._name(self._forward(*arguments))
            return [Result(ids[0], {name: to_array(value) for name, value in outputs.items()})]
        # A program of a fixed batch size gets its last row again until the batch is full.
        rows += rows[-1:] * ((self._program.fixed_batch or len(rows)) - len(rows))
        columns = [torch.stack(column).to(self._place) for column in zip(*rows, strict=True)]
        outputs = self._name(self._forward(*columns))
        arrays = {name: to_array(value) for name, value in outputs.items()}
        for name, array in arrays.items():
            if array.ndim == 0 or len(array) != len(rows):
                message = (
                    f"Output {name!r} has the shape {list(array.shape)} for a batch of "
                    f"{len(rows)}; its first dimension must be the batch. Write `batch_dim: null` "
                    "if it has none."
                )
                raise BatchContractError(message)
        return [
            Result(task_id, {name: array[row] for name, array in arrays.items()})
            for row, task_id in enumerate(ids)
        ]

    def _name(self, returned: object) -> dict[str, torch.Tensor]:
        """Name what forward returned: by its keys, by `outputs`, or output, output_1 and so on."""
        if isinstance(returned, Mapping):
            return {str(name): value for name, value in returned.items()}
        values = list(returned) if isinstance(returned, tuple | list) else [returned]
        names = self._outputs or ("output", *(f"output_{n}" for n in range(1, len(values))))
        if len(names) != len(values):
            message = f"forward gave {len(values)} outputs; the model file names {len(names)}."
            raise BatchContractError(message)
        return dict(zip(names, cast("list[torch.Tensor]", values), strict=True))


def to_tensor(value: object, spec: Input, *, is_batched: bool) -> torch.Tensor:
    """Turn one input of one task into a tensor. Raises InvalidInput, naming the input."""
    try:
        array = np.asarray(value)
        if array.dtype.kind not in "fiub":
            message = f"it holds {array.dtype}, not numbers"
            raise ValueError(message)  # noqa: TRY301 - joins what numpy raises
        tensor = torch.tensor(array if array.dtype != np.float64 else array.astype(np.float32))
    except (ValueError, TypeError) as error:
        raise InvalidInput(f"Input {spec.name!r} is no array of numbers: {error}.") from error
    if spec.dtype is not None:
        tensor = tensor.to(spec.dtype)
    if is_batched and spec.shape is not None and not _fits(tuple(tensor.shape), spec.shape):
        wanted = ["any" if size is None else size for size in spec.shape]
        message = f"Input {spec.name!r} has the shape {list(tensor.shape)}, not {wanted}."
        raise InvalidInput(message)
    return tensor


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size is None or size == given for given, size in zip(shape, wanted, strict=True)
    )


def to_array(value: object) -> np.ndarray:
    """Turn one output into an array; bfloat16, which numpy lacks, becomes float32."""
    if not isinstance(value, torch.Tensor):
        message = f"forward gave a {type(value).__name__} where a tensor was expected."
        raise BatchContractError(message)
    value = value.detach().cpu()
    return (value.float() if value.dtype == torch.bfloat16 else value).numpy()
