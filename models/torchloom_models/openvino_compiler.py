"""OpenVINO route: torch.export, converted to OpenVINO's own form, compiled for one of its devices.

What is kept is that form with its weights (model.xml, model.bin) and the device's code without them
(code.blob): the next start converts nothing, and maps the weights from the file. OpenVINO gives
results and writes to no argument: a forward that does is refused.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.utils import _pytree as pytree

from torchloom_models.artefact import ArtefactKey, ArtefactStore, digest_of_text, machine_digest
from torchloom_models.backend import WeightFormat
from torchloom_models.compiler import (
    Code,
    CompileFailed,
    Dims,
    dynamic_dims,
    first_lines,
    layout_of,
)
from torchloom_models.export import export_module
from torchloom_models.fingerprint import fingerprint_of, named_tensors, values_digest
from torchloom_models.machine import COMMON, fact_of
from torchloom_models.openvino_device import core, keep_to_itself
from torchloom_models.openvino_weights import compressed, narrow


if TYPE_CHECKING:
    import openvino

_MODEL, _WEIGHTS, _BLOB, _OUTPUTS = "model.xml", "model.bin", "code.blob", "outputs.json"

#: With one thread OpenVINO 2026.4 divides by zero where it fuses a gated layer, as Llama has, in
#: bfloat16 on a processor with AMX: the process dies as the model is compiled.
_LEAST_THREADS = {torch.bfloat16: 2}

#: Bits of a number that a device narrows.
_WIDE = 64

#: The form of what is kept: raised where older code must not be found any more.
_FORM = 3

#: OpenVINO's names of the types it may calculate in. By itself it would take bfloat16 for float32.
_PRECISIONS = {torch.float32: "f32", torch.bfloat16: "bf16", torch.float16: "f16"}


class OpenvinoCompiler:
    """Makes or finds OpenVINO code of one module in an artefact store."""

    name = "OpenVINO"

    def __init__(
        self,
        module: nn.Module,
        *,
        store: ArtefactStore,
        key: ArtefactKey,
        dims: Dims | None,
        weights: WeightFormat = "full",
    ) -> None:
        self._module = module
        self._store = store
        self._key = key
        self._unit = key.device.partition(":")[2]
        self._dims = dims
        self._weights = weights
        #: As torch has them now: it may take fewer while the code runs.
        self._num_threads = torch.get_num_threads()
        self._base: str | None = None

    def layout_of(self, arguments: Sequence[Tensor]) -> tuple[object, ...]:
        """Say what distinguishes code: dtypes and sizes. Arguments are made contiguous."""
        return tuple(layout[:2] for layout in layout_of(arguments, self._dims))

    def compile(
        self,
        arguments: Sequence[Tensor],
        *,
        is_background: bool,  # noqa: ARG002 - it compiles in this process either way
    ) -> Code:
        """Load the kept code for this layout, or make and keep it. Raises CompileFailed.

        Of several processes that want the same code, one makes it and the others wait.
        """
        digest = self._digest(arguments)
        with self._store.lock(digest):
            folder = self._store.find(digest)
            if folder is not None:
                try:
                    return self._load(folder)
                except CompileFailed:
                    self._store.forget(digest)
            needs = (*COMMON, *self._packages(), self._key.device)
            with self._store.making(digest, self._key, needs=needs) as folder:
                self._make(arguments, folder)
            return self._load(self._store.root / digest)

    def close(self) -> None:
        """Do nothing: what converts here cannot be ended from outside."""

    def _make(self, arguments: Sequence[Tensor], folder: Path) -> None:
        import openvino  # noqa: PLC0415 - takes a fifth of a second, and kept code needs no torch

        from torchloom_models.openvino_paged import is_paged  # noqa: PLC0415 - imports openvino

        if any(tensor.dtype == torch.float64 for tensor in named_tensors(self._module).values()):
            raise CompileFailed("its weights are float64, which OpenVINO calculates in float32")
        program = export_module(self._module, arguments, self._dims)
        model = _convert(program)
        model.reshape(_shapes(model, arguments, self._dims))
        if self._weights != "full":
            model = compressed(model, self._weights)
        elif is_paged(model):
            # A language model reads all weights for few tokens.
            narrow(model)
        openvino.save_model(model, folder / _MODEL, compress_to_fp16=False)
        spec = program.call_spec.out_spec
        assert spec is not None
        (folder / _OUTPUTS).write_text(pytree.treespec_dumps(spec), encoding="utf-8")
        if "EXPORT_IMPORT" in core().get_property(self._unit, "OPTIMIZATION_CAPABILITIES"):
            self._keep_blob(folder)

    def _keep_blob(self, folder: Path) -> None:
        """Keep the device's code. Of attention over pages OpenVINO would read none back."""
        from torchloom_models.openvino_paged import read_model  # noqa: PLC0415 - as above

        kept, is_paged = read_model(folder / _MODEL)
        if is_paged:
            return
        _hold_wide_numbers(kept)
        compiled = self._compile_for_device(kept, is_paged=False)
        (folder / _BLOB).write_bytes(compiled.export_model().getvalue())

    def _load(self, folder: Path) -> Code:
        try:
            compiled = self._import_blob(folder) or self._compile_kept(folder)
            spec = pytree.treespec_loads((folder / _OUTPUTS).read_text(encoding="utf-8"))
        except (OSError, ValueError, RuntimeError) as error:
            raise CompileFailed(f"the kept code does not load: {first_lines(error)}") from error
        return _Request(compiled.create_infer_request(), spec.unflatten)

    def _import_blob(self, folder: Path) -> openvino.CompiledModel | None:
        """Load the device's code; None where there is none, or the device takes it no more."""
        blob = folder / _BLOB
        if not blob.exists():
            return None
        options = {**self._options(), "WEIGHTS_PATH": str(folder / _WEIGHTS)}
        try:
            return core().import_model(blob.read_bytes(), self._unit, options)
        except RuntimeError:
            return None

    def _compile_kept(self, folder: Path) -> openvino.CompiledModel:
        from torchloom_models.openvino_paged import read_model  # noqa: PLC0415 - as above

        model, is_paged = read_model(folder / _MODEL)
        return self._compile_for_device(model, is_paged=is_paged)

    def _compile_for_device(
        self, model: openvino.Model, *, is_paged: bool
    ) -> openvino.CompiledModel:
        """Compile it. A cache in pages is kept in the type that is calculated in."""
        options = self._options()
        if is_paged:
            options = {**options, "KV_CACHE_PRECISION": options["INFERENCE_PRECISION_HINT"]}
        try:
            return core().compile_model(model, self._unit, options)
        except RuntimeError as error:
            message = f"OpenVINO does not compile it for {self._key.device}: {first_lines(error)}"
            raise CompileFailed(message) from error

    def _options(self) -> Mapping[str, object]:
        """Give OpenVINO's settings. Code without weights is what CACHE_MODE asks for."""
        options: dict[str, object] = {
            "INFERENCE_PRECISION_HINT": _PRECISIONS[dtype_within(self._module)],
            "PERFORMANCE_HINT": "LATENCY",
            "CACHE_MODE": "OPTIMIZE_SIZE",
        }
        if self._unit == "CPU":
            # Pinned threads of two workers would sit on the same cores.
            options["ENABLE_CPU_PINNING"] = False
            least = _LEAST_THREADS.get(dtype_within(self._module), 1)
            options["INFERENCE_NUM_THREADS"] = max(self._num_threads, least)
        return options

    def _packages(self) -> Sequence[str]:
        """Name the packages that make the code, besides torch's."""
        return ("openvino",) if self._weights == "full" else ("openvino", "nncf")

    def _digest(self, arguments: Sequence[Tensor]) -> str:
        if self._base is None:
            self._base = digest_of_text(
                machine_digest(*self._packages()),
                fact_of(self._key.device),
                fingerprint_of(self._module),
                values_digest(self._module),
                repr((self._key.model, self._key.dtype, self._key.device, self._key.part)),
                repr((_FORM, self._weights, self._dims, sorted(self._options().items()))),
            )
        layout = repr(self.layout_of(arguments))
        return f"{self._key.part}-{digest_of_text(self._base, layout)}"


def dtype_within(module: nn.Module) -> torch.dtype:
    """Give the floating dtype that most of a module's numbers have; float32 where it has none."""
    counts = dict.fromkeys(_PRECISIONS, 0)
    for tensor in named_tensors(module).values():
        if tensor.dtype in counts:
            counts[tensor.dtype] += tensor.numel()
    return max(counts, key=lambda dtype: counts[dtype])


def _convert(program: ExportedProgram) -> openvino.Model:
    import openvino  # noqa: PLC0415 - as above

    from torchloom_models.openvino_paged import extensions  # noqa: PLC0415 - as above

    keep_to_itself()
    try:
        with _log_level_kept(), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of what the two packages find deprecated in another
            _check_writes(program)
            model = openvino.convert_model(program, extension=extensions())
    except CompileFailed:
        raise
    except Exception as error:
        raise CompileFailed(f"OpenVINO did not convert it: {_reason(error)}") from error
    spec = program.call_spec.out_spec
    if spec is None or spec.num_leaves != len(model.outputs):
        raise CompileFailed("forward gives more than tensors: None, a number, or a text")
    return model


@contextmanager
def _log_level_kept() -> Iterator[None]:
    """Put the level of all logging back, which OpenVINO raises when it has a failure to tell."""
    root = logging.getLogger()
    level = root.level
    try:
        yield
    finally:
        root.setLevel(level)


def _reason(error: Exception) -> str:
    """Give what a conversion lacked, without where in OpenVINO's code that was found."""
    findings = [line[3:] for line in str(error).splitlines() if line.startswith("-- ")]
    return "; ".join(findings).rstrip(".") or first_lines(error)


def _hold_wide_numbers(model: openvino.Model) -> None:
    """Have the device's code hold 64-bit constants itself, in place of finding them in the file.

    The device calculates in 32 bits. OpenVINO 2026.4 cuts what it reads from the file, where its
    compilation clamps: the open end of a slice, 2^63 - 1, became -1, and `x[1:]` lost its last row.
    """
    for node in model.get_ops():
        if node.get_type_name() == "Constant" and node.get_element_type().bitwidth == _WIDE:
            info = node.get_rt_info()
            for name in [name for name in info if name.startswith("WeightlessCacheAttribute")]:
                del info[name]


def _shapes(
    model: openvino.Model, arguments: Sequence[Tensor], dims: Dims | None
) -> dict[openvino.Output, openvino.PartialShape]:
    """Give each input's sizes, which conversion has left open: fixed, or within their bounds."""
    import openvino  # noqa: PLC0415 - as above

    of_each = [{}] * len(arguments) if dims is None else dynamic_dims(arguments, dims)
    return {
        port: openvino.PartialShape(
            [
                openvino.Dimension(of[i].min, of[i].max) if i in of else openvino.Dimension(size)
                for i, size in enumerate(tensor.shape)
            ]
        )
        for port, tensor, of in zip(model.inputs, arguments, of_each, strict=True)
    }


def _check_writes(program: ExportedProgram) -> None:
    """Refuse a forward that writes in place: OpenVINO would drop it, and say nothing."""
    signature = program.run_decompositions({}).graph_signature
    written = [*signature.user_inputs_to_mutate.values(), *signature.buffers_to_mutate.values()]
    if written:
        message = (
            f"forward writes to {written[0]!r} in place, and OpenVINO gives results alone: what is "
            "to be kept must be an output"
        )
        raise CompileFailed(message)


class _Request:
    """Compiled code with the one request that runs it. Arguments are read where they lie."""

    __slots__ = ("_lent", "_request", "_unflatten")

    def __init__(
        self, request: openvino.InferRequest, unflatten: Callable[[list[Tensor]], object]
    ) -> None:
        self._request = request
        self._unflatten = unflatten
        #: OpenVINO keeps nothing alive of what it is lent. The buffers of a cache stay lent.
        self._lent: list[Tensor] = []

    def __call__(self, arguments: Sequence[Tensor]) -> object:
        lent = [tensor.contiguous() for tensor in arguments]
        # Where it fails half way, nothing counts as lent.
        before, self._lent = self._lent, []
        for number, tensor in enumerate(lent):
            if not before or tensor is not before[number]:
                self._request.set_input_tensor(number, _to_openvino(tensor))
        self._lent = lent
        # In this thread: `start_async` would hand it to another, which costs a small step a tenth.
        self._request.infer(share_outputs=True)  # not copied: that comes below
        return self._unflatten([_to_torch(output) for output in self._request.output_tensors])


def _to_openvino(tensor: Tensor) -> openvino.Tensor:
    """Lend a contiguous tensor's memory. numpy has no bfloat16: its bits go as integers."""
    import openvino  # noqa: PLC0415 - as above

    if tensor.dtype == torch.bfloat16:
        bits = tensor.view(torch.int16).numpy()
        return openvino.Tensor(bits, openvino.Shape(list(tensor.shape)), openvino.Type.bf16)
    return openvino.Tensor(tensor.numpy(), shared_memory=True)


def _to_torch(tensor: openvino.Tensor) -> Tensor:
    """Copy an output: the next call writes to the same memory again."""
    if tensor.element_type.to_string() == "bf16":
        return torch.from_numpy(tensor.data.view("int16").copy()).view(torch.bfloat16)
    return torch.from_numpy(tensor.data.copy())
