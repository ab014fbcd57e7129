"""The module kind: any nn.Module, or an exported program, opened as an engine over named arrays.

What it does with tasks is ModuleEngine's.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

import numpy as np
import torch
from torch import nn
from torch.utils import _pytree as pytree

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import Work
from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.artefact import digest_of_text
from torchloom_models.backend import WeightFormat
from torchloom_models.compile import CompiledCallable, Dim
from torchloom_models.function import find_function
from torchloom_models.loss import difference_loss
from torchloom_models.module_engine import Input, ModuleEngine, Program
from torchloom_models.opening import Opening
from torchloom_models.program import load_program
from torchloom_models.source import resolve_source


if TYPE_CHECKING:
    from torch.export import ExportedProgram

#: How many tasks go into one batch, unless the model file says.
MAX_TASKS = 32

#: How many tasks go through each device where the fastest is looked for.
_MEASURED = 8

#: What torch raises for arguments that do not fit a module.
_LOAD_ERRORS = (OSError, RuntimeError, ValueError, TypeError, KeyError)


def open_module(config: Mapping[str, object], device: Device, report: Report) -> ModuleEngine:
    """Open a module; on `auto`, on whichever device is the fastest.

    Raises ModelLoadError, InvalidModel or DeviceUnavailable.
    """
    report("loading the weights", None)
    source = config.get("source")
    if isinstance(source, str):
        config = {**config, "source": str(resolve_source(source, report))}
    return ModuleOpening(config, report).open(device)


class ModuleOpening(Opening[ModuleEngine]):
    """What is read once of a module."""

    timed_by = ("compile", "weights", "inputs", "max_size", "batch_dim")

    def __init__(self, config: Mapping[str, object], report: Report) -> None:
        super().__init__(config, report)
        self._is_batched = config.get("batch_dim", 0) == 0
        self._max_tasks = cast("int", config.get("max_size", MAX_TASKS))
        self._programs: dict[str, Program] = {}

    @property
    def _model(self) -> str:
        """Tell modules apart, but not folders: code is found wherever the files are carried."""
        return digest_of_text(*(repr(self._config.get(key)) for key in ("class", "arguments")))

    def _works(self) -> list[Work]:
        """Make a batch of tasks of zeros; none where a shape is known from requests only."""
        program = self._program_at("cpu")
        if not program.is_known:
            return []
        zeros = {
            each.name: np.zeros(cast("tuple[int, ...]", each.shape), np.float32)
            for each in program.inputs
        }
        most = self._max_tasks if self._is_batched else 1
        return [Work(number, zeros) for number in range(min(_MEASURED, most))]

    def _program_at(self, place: str) -> Program:
        """Load it once a place: OpenVINO's devices share that of the CPU."""
        if place not in self._programs:
            program = _open_program(self._config)
            program.module.to(place)
            self._programs[place] = program
        return self._programs[place]

    def _open_at(self, label: str, place: str) -> ModuleEngine:
        program = self._program_at(place)
        has_dims = self._is_batched and program.fixed_batch is None and self._max_tasks > 1
        batch = Dim("batch", max=self._max_tasks)
        forward = self._recipe(label, "mixed").compile(
            _Positional(program), dims=[{0: batch}] * len(program.inputs) if has_dims else None
        )
        engine = ModuleEngine(
            forward,
            program,
            outputs=cast("Sequence[str]", self._config.get("outputs", ())),
            max_tasks=self._max_tasks,
            is_batched=self._is_batched,
            device=label,
            place=place,
        )
        if self._has_warm_up:
            engine.warm_up(self._report)
        unknown = "" if program.is_known else "the shapes of `inputs` are not in the model file"
        engine.notes = tuple(self._losses(partial(self._loss, program, forward), obstacle=unknown))
        return engine

    def _loss(self, program: Program, forward: CompiledCallable, weights: WeightFormat) -> str:
        """Compare what random inputs give."""
        batch = (program.fixed_batch or min(2, self._max_tasks),) if self._is_batched else ()
        arguments = tuple(_random(each, batch) for each in program.inputs)
        with torch.inference_mode():
            full, found = _Positional(program)(*arguments), forward(*arguments)
        return difference_loss(weights, pytree.tree_leaves(full), pytree.tree_leaves(found))


def _random(each: Input, batch: tuple[int, ...]) -> torch.Tensor:
    """Draw an example, the same each time. Whole numbers are 0 or 1: they may be indexes."""
    source = torch.Generator().manual_seed(0)
    shape = (*batch, *cast("tuple[int, ...]", each.shape))
    drawn = torch.randn(shape, generator=source)
    assert each.dtype is not None
    return drawn.to(each.dtype) if each.dtype.is_floating_point else (drawn > 0).to(each.dtype)


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

    def __init__(self, program: Program) -> None:
        super().__init__()
        self.module = program.module
        self.num_positional = program.num_positional
        self.names = tuple(each.name for each in program.inputs[self.num_positional :])

    def forward(self, *arguments: torch.Tensor) -> object:
        by_name = dict(zip(self.names, arguments[self.num_positional :], strict=True))
        return self.module(*arguments[: self.num_positional], **by_name)
