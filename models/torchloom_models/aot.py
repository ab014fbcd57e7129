"""Ahead-of-time route: torch.export here, AOTInductor in a child process, weights by reference.

The kept package holds code and no weights: it runs on the very tensors that the eager module holds.
The child gets the exported program without its weights, so that a large model is not written and
read again, and the compiler's Python does not hold up the thread that serves.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn
from torch.export import ExportedProgram
from torch.export.pt2_archive._package import AOTICompiledModel
from torch.utils import _pytree as pytree

from torchloom_models.aot_build import AotBuild, BuildOrder
from torchloom_models.artefact import ArtefactKey, ArtefactStore, digest_of_text, machine_digest
from torchloom_models.compiler import (
    Code,
    CompileFailed,
    Dims,
    first_lines,
    layout_of,
    need_cpp_compiler,
)
from torchloom_models.export import export_module
from torchloom_models.fingerprint import MAX_FOLDED, fingerprint_of, named_tensors
from torchloom_models.packed_linear import packed_weights


_CONSTANTS = "constants.safetensors"


class AotCompiler:
    """Makes or finds AOTInductor packages of one module in an artefact store."""

    name = "ahead of time"

    def __init__(
        self,
        module: nn.Module,
        *,
        store: ArtefactStore,
        key: ArtefactKey,
        dims: Dims | None,
        mode: str,
    ) -> None:
        self._module = module
        self._store = store
        self._key = key
        self._dims = dims
        self._mode = mode
        self._base: str | None = None
        self._build: AotBuild | None = None
        self._is_closed = False

    def layout_of(self, arguments: Sequence[Tensor]) -> tuple[object, ...]:
        """Say what distinguishes code."""
        return layout_of(arguments, self._dims)

    def compile(self, arguments: Sequence[Tensor], *, is_background: bool) -> Code:
        """Load the kept code for this layout, or make and keep it. Raises CompileFailed.

        Of several processes that want the same code, one makes it and the others wait.
        """
        digest = self._digest(arguments)
        with self._store.lock(digest):
            folder = self._store.find(digest)
            if folder is not None:
                try:
                    return _load(folder, self._module)
                except CompileFailed:
                    self._store.forget(digest)
            threads = torch.get_num_threads()
            with self._store.making(digest, self._key, threads=threads) as folder:
                self._make(arguments, folder, is_background=is_background)
            return _load(self._store.root / digest, self._module)

    def close(self) -> None:
        """End the child that still compiles."""
        self._is_closed = True
        if self._build is not None:
            self._build.stop()

    def _make(self, arguments: Sequence[Tensor], folder: Path, *, is_background: bool) -> None:
        need_cpp_compiler()
        program = export_module(self._module, arguments, self._dims)
        _save_constants(program, self._module, folder / _CONSTANTS)
        order = BuildOrder(
            threads=torch.get_num_threads(), niceness=10 if is_background else 0, mode=self._mode
        )
        self._build = AotBuild(folder, order, inductor_folder=self._store.root / "inductor")
        if self._is_closed:
            raise CompileFailed("the engine is closing")
        self._build.run(_without_weights(program))

    def _digest(self, arguments: Sequence[Tensor]) -> str:
        if self._base is None:
            self._base = digest_of_text(
                machine_digest(),
                fingerprint_of(self._module),
                repr((self._key.model, self._key.dtype, self._key.device, self._key.part)),
                repr((self._mode, self._dims, torch.get_num_threads())),
            )
        layout = repr(self.layout_of(arguments))
        return f"{self._key.part}-{digest_of_text(self._base, layout)}"


def _save_constants(program: ExportedProgram, module: nn.Module, path: Path) -> None:
    """Keep the tensors that tracing made: the module has no name for them."""
    named = named_tensors(module)
    made = {
        name: value.detach().clone().contiguous()
        for name, value in program.constants.items()
        if isinstance(value, Tensor) and name not in named
    }
    save_file(made, path)


def _without_weights(program: ExportedProgram) -> ExportedProgram:
    """Put shapes in place of the tensors whose values no code depends on."""
    state = {name: _hollow(tensor) for name, tensor in program.state_dict.items()}
    program._state_dict = state  # noqa: SLF001 - the setter forbids what is meant here
    return program


def _hollow(tensor: Tensor) -> Tensor:
    if tensor.numel() <= MAX_FOLDED:
        return tensor
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype, device="meta")
    if isinstance(tensor, nn.Parameter):
        return nn.Parameter(empty, requires_grad=False)
    return empty


def _load(folder: Path, module: nn.Module) -> Code:
    """Load kept code and bind it to the module's own tensors.

    By the loader itself: `aoti_load_package` probes the processor first, which takes seconds and
    the C++ compiler, and which the artefact's digest has settled already.
    """
    try:
        path = str(folder / AotBuild.PACKAGE)
        loader = torch._C._aoti.AOTIModelPackageLoader(path, "model", False, 1, -1)  # noqa: SLF001
        tensors = load_file(folder / _CONSTANTS) | named_tensors(module) | packed_weights(module)
        bound = {name: tensors[name] for name in loader.get_constant_fqns()}
        package = AOTICompiledModel(loader)
        package.load_constants(bound, check_full_update=True, user_managed=True)
    except (RuntimeError, OSError, ValueError, KeyError, SafetensorError) as error:
        raise CompileFailed(f"the kept code does not load: {first_lines(error)}") from error
    spec = pytree.treespec_loads(loader.get_call_spec()[1])
    return _Bound(loader.boxed_run, spec.unflatten, tuple(bound.values()))


class _Bound:
    """Loaded code. It holds bare pointers to the tensors, so they must live as long as it does."""

    __slots__ = ("_run", "_tensors", "_unflatten")

    def __init__(
        self,
        run: Callable[[list[Tensor]], list[Tensor]],
        unflatten: Callable[[list[Tensor]], object],
        tensors: tuple[Tensor, ...],
    ) -> None:
        self._run = run
        self._unflatten = unflatten
        self._tensors = tensors

    def __call__(self, arguments: Sequence[Tensor]) -> object:
        return self._unflatten(self._run(list(arguments)))
