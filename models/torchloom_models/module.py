"""The module kind: any nn.Module, or an exported program, as an engine over named arrays.

Tasks of equal shapes are stacked along the batch dimension and run together. Knows no text, no
image and no meaning of what it computes.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Event, Result, Room, Work
from torchloom.errors import BatchContractError, InvalidInput, InvalidModel, ModelLoadError
from torchloom_models.artefact import ArtefactKey, digest_of_text
from torchloom_models.compile import CompiledCallable, CompileSettings, Dim
from torchloom_models.function import find_function
from torchloom_models.hardware import label_of, place_of
from torchloom_models.program import load_program
from torchloom_models.source import resolve_source


if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: How many tasks go into one batch, unless the model file says.
_MAX_TASKS = 32

#: What torch raises for arguments that do not fit a module.
_LOAD_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


@dataclass(frozen=True, slots=True, kw_only=True)
class Input:
    """One argument of forward, for one task: without the batch dimension. None sizes may vary.

    `dtype` None means: as the values come, float32 for decimals and int64 for whole numbers.
    """

    name: str
    shape: tuple[int | None, ...] | None = None
    dtype: torch.dtype | None = None


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


def open_module(config: Mapping[str, object], device: Device, report: Report) -> ModuleEngine:
    """Open a module. Raises ModelLoadError, InvalidModel or DeviceUnavailable."""
    place = place_of(device)
    label = label_of(device, place)
    report("loading the weights", None)
    source = config.get("source")
    if isinstance(source, str):
        config = {**config, "source": str(resolve_source(source, report))}
    program = _open_program(config)
    module = program.module.to(place)
    max_tasks = cast("int", config.get("max_size", _MAX_TASKS))
    is_batched = config.get("batch_dim", 0) == 0
    artefacts = config.get("artefacts")
    has_dims = is_batched and program.fixed_batch is None and max_tasks > 1
    forward = CompiledCallable(
        _Positional(module, program),
        settings=CompileSettings.of_model(config).on(label),
        key=ArtefactKey(model=_digest(config), dtype="mixed", device=label),
        folder=Path(str(artefacts)) if artefacts else None,
        dims=[{0: Dim("batch", max=max_tasks)} for _ in program.inputs] if has_dims else None,
    )
    engine = ModuleEngine(
        forward,
        program,
        outputs=cast("Sequence[str]", config.get("outputs", ())),
        max_tasks=max_tasks,
        is_batched=is_batched,
        device=label,
        place=place,
    )
    if config.get("warmup", True):
        engine.warm_up(report)
    return engine


def _digest(config: Mapping[str, object]) -> str:
    keys = ("source", "class", "arguments")
    return digest_of_text(*(repr(config.get(key)) for key in keys))


def _open_program(config: Mapping[str, object]) -> Program:
    declared = _declared_inputs(config)
    source = config.get("source")
    if isinstance(source, str) and source.endswith(".pt2"):
        return _from_exported(load_program(Path(source)))
    if "class" not in config:
        message = "A module needs `class: package.module:Class`, or a `.pt2` program as `source`."
        raise InvalidModel(message)
    module = _construct(config)
    if isinstance(source, str):
        _load_weights(module, Path(source))
    names = [
        name
        for name, parameter in inspect.signature(module.forward).parameters.items()
        if parameter.kind in {parameter.POSITIONAL_OR_KEYWORD, parameter.KEYWORD_ONLY}
        and (parameter.default is parameter.empty or name in declared)
    ]
    unknown = sorted(set(declared) - set(names))
    if unknown:
        message = f"forward of {config['class']} has no argument {unknown[0]!r}; it has {names}."
        raise InvalidModel(message)
    return Program(module=module, inputs=tuple(declared.get(n, Input(name=n)) for n in names))


def _declared_inputs(config: Mapping[str, object]) -> dict[str, Input]:
    declared = cast("Mapping[str, Mapping[str, object]]", config.get("inputs", {}))
    inputs = {}
    for name, spec in declared.items():
        dtype = getattr(torch, str(spec["dtype"]), None)
        if not isinstance(dtype, torch.dtype):
            message = f"Input {name!r} has the dtype {spec['dtype']!r}, which torch does not know."
            raise InvalidModel(message)
        shape = tuple(cast("list[int | None]", spec["shape"]))
        inputs[name] = Input(name=name, shape=shape, dtype=dtype)
    return inputs


def _construct(config: Mapping[str, object]) -> nn.Module:
    path = str(config["class"])
    make = find_function(path, cast("list[str]", config.get("functions", [])))
    try:
        module = make(**cast("dict[str, object]", config.get("arguments", {})))
    except _LOAD_ERRORS as error:
        message = f"{path} could not be made: {type(error).__name__}: {error}"
        raise ModelLoadError(message) from error
    if not isinstance(module, nn.Module):
        message = f"{path} makes a {type(module).__name__}, not a torch.nn.Module."
        raise InvalidModel(message)
    return module.eval()


def _load_weights(module: nn.Module, path: Path) -> None:
    from safetensors.torch import load_file  # noqa: PLC0415 - only where there are weights

    files = sorted(path.glob("*.safetensors")) if path.is_dir() else [path]
    if not files or not files[0].name.endswith(".safetensors"):
        message = (
            f"{str(path)!r} is no safetensors file and holds none. Weights must be safetensors."
        )
        raise ModelLoadError(message)
    try:
        weights = {name: value for file in files for name, value in load_file(file).items()}
        module.load_state_dict(weights, strict=True)
    except Exception as error:
        message = f"The weights in {str(path)!r} do not fit: {error}"
        raise ModelLoadError(message) from error


def _from_exported(program: ExportedProgram) -> Program:
    """Read names, shapes and dtypes off an exported program; its first dimension is the batch."""
    names = list(program.graph_signature.user_inputs)
    values = {
        node.name: node.meta["val"] for node in program.graph.nodes if node.op == "placeholder"
    }
    inputs, fixed = [], None
    for name in names:
        value = values.get(str(name))
        if not isinstance(value, torch.Tensor) or value.ndim == 0:
            message = f"Input {name!r} of the program is no tensor with a batch dimension."
            raise InvalidModel(message)
        sizes = [size if isinstance(size, int) else None for size in value.shape]
        fixed = sizes[0] if fixed is None else fixed
        inputs.append(Input(name=str(name), shape=tuple(sizes[1:]), dtype=value.dtype))
    positional = program.call_spec.in_spec.children()[0] if program.call_spec.in_spec else None
    return Program(
        module=program.module(),
        inputs=tuple(inputs),
        fixed_batch=fixed,
        num_positional=positional.num_leaves if positional else len(inputs),
    )


class _Positional(nn.Module):
    """Takes all arguments by position and passes them on as the module wants them."""

    def __init__(self, module: nn.Module, program: Program) -> None:
        super().__init__()
        self.module = module
        self.num_positional = program.num_positional
        self.names = tuple(each.name for each in program.inputs[self.num_positional :])

    def forward(self, *arguments: torch.Tensor) -> object:
        by_name = dict(zip(self.names, arguments[self.num_positional :], strict=True))
        return self.module(*arguments[: self.num_positional], **by_name)


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

    def close(self) -> None:
        """End what still compiles."""
        if isinstance(self._forward, CompiledCallable):
            self._forward.close()

    def warm_up(self, report: Report) -> None:
        """Compile for the shapes that are known beforehand, if all of them are."""
        inputs = self._program.inputs
        shapes = [each.shape for each in inputs]
        if not isinstance(self._forward, CompiledCallable) or any(
            shape is None or None in shape or each.dtype is None
            for shape, each in zip(shapes, inputs, strict=True)
        ):
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
