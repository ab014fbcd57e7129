"""CompiledCallable: a module that is compiled for each layout it meets, and is eager until then.

For engines:

    settings = CompileSettings.of_model(config)
    batch, length = Dim("batch", max=64), Dim("length", max=512)
    encode = CompiledCallable(
        module, settings=settings, key=key,
        folder=folder,                                          # config["artefacts"], or None
        dims=[{0: batch, 1: length}, {0: batch, 1: length}],    # None: every size is fixed
    )
    encode.warm_up([(ids, mask)], report)          # before ready; raises ModelLoadError
    vectors = encode(ids, mask)                    # compiled, or eager while the layout compiles
    encode.close()

What is asked of callers:
- `module` is an `nn.Module` in eval mode whose forward takes tensors alone, by position, and gives
  a tensor, or a tuple or dict of tensors. Numbers that change between calls must be tensors.
- forward may write to its arguments in place (a KV cache); compiled code does so too. Give each
  layer a buffer of its own: one stacked buffer is slow.
- A layout is the dtypes, shapes and strides of all arguments. A size that `dims` names may vary
  within one piece of code. Any other size that is new compiles in the background while calls run
  eagerly: pad to buckets (`buckets.py`), so that there are few. Arguments are on the key's device.
  What `warm_up` gets decides what the code is tuned for: typical sizes, 2 or more where they vary.
- On an OpenVINO device (a key whose device is "openvino:…"; arguments are on the CPU) OpenVINO's
  code answers, or nobody does: a layout that is new compiles before its first answer, and forward
  must not write in place.
- Calls come from one thread at a time. `pending` says how many layouts still compile; `wait()`
  returns when none does.
Compiled code gives what eager code gives, up to the order of sums: within 1e-5 of the largest value
in float32, 1e-2 in bfloat16. Everything runs in inference mode. Knows no kind of model.
"""

from __future__ import annotations

import logging
import queue
import shutil
import tempfile
import threading
import time
from collections.abc import Hashable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, Self, cast

import torch
from torch import Tensor, nn

from torchloom.deployment import Report
from torchloom.errors import ModelLoadError, TaskFailed
from torchloom_models.aot import AotCompiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore
from torchloom_models.backend import Backend, WeightFormat
from torchloom_models.compiler import Code, CompileFailed, Compiler, Dim, Dims
from torchloom_models.jit import JitCompiler
from torchloom_models.openvino_compiler import OpenvinoCompiler


__all__ = ["ArtefactKey", "CompileSettings", "CompiledCallable", "Dim"]

_log = logging.getLogger(__name__)

Mode = Literal["default", "max-autotune", "max-autotune-no-cudagraphs", "reduce-overhead"]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompileSettings:
    """What the model file says under `compile:`, and under `weights:`.

    `auto` compiles where it can and says where it cannot; `inductor` and `openvino` compile, or the
    model does not start. `dynamic: false` gives each bucket code of its own. `buckets` are lengths
    or batch sizes, as the kind says.
    """

    backend: Backend = "auto"
    mode: Mode = "default"
    dynamic: bool = True
    buckets: tuple[int, ...] = ()
    weights: WeightFormat = "full"

    @classmethod
    def of_model(cls, config: Mapping[str, object]) -> Self:
        """Read all of it from what a model file says."""
        settings = cls.from_config(config.get("compile", "auto"))
        return replace(settings, weights=cast("WeightFormat", config.get("weights", "full")))

    @classmethod
    def from_config(cls, value: object) -> Self:
        """Read `auto`, another backend or a mapping, as checked by `spec.parse_model`."""
        if isinstance(value, Mapping):
            return cls(**{**value, "buckets": tuple(sorted(value.get("buckets", ())))})
        return cls(backend=cast("Backend", value))

    def on(self, device: str) -> Self:
        """Give what holds on a device: OpenVINO compiles for an NPU size by size only."""
        return replace(self, dynamic=self.dynamic and not device.startswith("openvino:NPU"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Piece:
    """A piece of compiled code, and how it came about.

    `artefact` is its name in the store; None where torch keeps it its own way. `is_new`: it was not
    there before. `seconds`: what making or loading it took.
    """

    part: str
    route: str
    seconds: float
    artefact: str | None
    is_new: bool


_watched: ContextVar[list[CompiledCallable] | None] = ContextVar("watched", default=None)


@contextmanager
def watching() -> Iterator[list[CompiledCallable]]:
    """Give a list that every CompiledCallable which is made within the block is added to."""
    made: list[CompiledCallable] = []
    token = _watched.set(made)
    try:
        yield made
    finally:
        _watched.reset(token)


class CompiledCallable:
    """A module behind the rules above."""

    def __init__(
        self,
        module: nn.Module,
        *,
        settings: CompileSettings,
        key: ArtefactKey,
        folder: Path | None = None,
        dims: Dims | None = None,
    ) -> None:
        self._module = module
        self._settings = settings
        self._key = key
        self._is_openvino = key.device.startswith("openvino:")
        self._temporary = None if folder else Path(tempfile.mkdtemp(prefix="torchloom-"))
        self._store = ArtefactStore(cast("Path", folder or self._temporary))
        self._routes = self._plan(dims)
        #: By layout: code, or None while there is none (still compiling, or failed for good).
        self._codes: dict[Hashable, Code | None] = {}
        self._lock = threading.Lock()
        self._is_idle = threading.Condition(self._lock)
        self._num_pending = 0
        self._orders: queue.SimpleQueue[Sequence[Tensor] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._failures: list[str] = []
        self._pieces: list[Piece] = []
        self._is_closed = False
        watched = _watched.get()
        if watched is not None:
            watched.append(self)

    def __call__(self, *arguments: Tensor) -> object:
        """Run forward: compiled where there is code for this layout, eagerly otherwise."""
        with torch.inference_mode():
            if not self._routes:
                return self._module(*arguments)
            layout = self._routes[0].layout_of(arguments)
            code = self._codes.get(layout)
            if code is not None:
                return code(arguments)
            if self._is_openvino:
                return self._compile_first(layout, arguments)(arguments)
            if layout not in self._codes:
                self._compile_later(layout, arguments)
            return self._module(*arguments)

    def warm_up(self, examples: Sequence[tuple[Tensor, ...]], report: Report) -> None:
        """Compile for each example and call it, so that what it writes in place is written to them.

        Raises ModelLoadError where a call fails, or where nothing but compiled code will do and it
        does not compile.
        """
        for number, example in enumerate(examples):
            report(f"compiling {self._key.part}", number / len(examples))
            self._compile_now(example)
            try:
                with torch.inference_mode():
                    self(*example)
            except Exception as error:
                message = f"The warm-up of {self._key.part!r} failed: {error}"
                raise ModelLoadError(message) from error
        report(f"compiled {self._key.part}", 1.0)

    @property
    def pending(self) -> int:
        """How many layouts compile, or wait for it."""
        return self._num_pending

    @property
    def is_compiled(self) -> bool:
        """Whether there is compiled code for any layout."""
        return any(code is not None for code in self._codes.values())

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What was compiled, or found compiled, in the order in which it came."""
        return tuple(self._pieces)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why layouts run eagerly for good."""
        return tuple(self._failures)

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when nothing compiles any more (True), or when the time is over (False)."""
        with self._is_idle:
            return self._is_idle.wait_for(lambda: self._num_pending == 0, timeout_s)

    def close(self) -> None:
        """End what still compiles, and remove artefacts that were not to be kept."""
        self._is_closed = True
        for route in self._routes:
            route.close()
        if self._thread is not None:
            self._orders.put(None)
            self._thread.join()
            self._thread = None
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __repr__(self) -> str:
        """Say what is compiled."""
        compiled = sum(code is not None for code in self._codes.values())
        route = self._routes[0].name if self._routes else "eager"
        counts = f"{compiled} compiled, {self.pending} pending"
        return f"<CompiledCallable {self._key.part}: {route}, {counts}>"

    def _plan(self, dims: Dims | None) -> list[Compiler]:
        """List the routes to code, best first. None: eager."""
        settings = self._settings
        if settings.backend == "eager":
            return []
        if not settings.dynamic:
            dims = None
        if self._is_openvino:
            return [
                OpenvinoCompiler(
                    self._module,
                    store=self._store,
                    key=self._key,
                    dims=dims,
                    weights=settings.weights,
                )
            ]
        just_in_time = JitCompiler(
            self._module, folder=self._store.root / "inductor", dims=dims, mode=settings.mode
        )
        if self._key.device.partition(":")[0] != "cpu":
            return [just_in_time]
        ahead = AotCompiler(
            self._module, store=self._store, key=self._key, dims=dims, mode=settings.mode
        )
        return [ahead, just_in_time]

    def _compile_now(self, arguments: tuple[Tensor, ...]) -> None:
        """Compile in this thread, unless there is code already, or no route to it."""
        if not self._routes or self._routes[0].layout_of(arguments) in self._codes:
            return
        try:
            layout, code = self._compile(_blank(arguments), is_background=False)
        except CompileFailed as error:
            self._codes[self._routes[0].layout_of(arguments)] = None
            self._give_up(str(error))
        else:
            self._codes[layout] = code

    def _compile_first(self, layout: Hashable, arguments: Sequence[Tensor]) -> Code:
        """Compile before the answer, where nothing else may answer. Raises TaskFailed."""
        if layout in self._codes:
            raise TaskFailed(f"{self._key.part!r} did not compile for these sizes; see the log.")
        self._codes[layout] = None
        try:
            self._codes[layout] = code = self._compile(_blank(arguments), is_background=False)[1]
        except CompileFailed as error:
            self._failures.append(str(error))
            _log.warning("%s does not compile for a new layout: %s", self._key.part, error)
            message = f"{self._key.part!r} does not compile for {self._key.device}: {error}."
            raise TaskFailed(message) from error
        return code

    def _compile(
        self, arguments: Sequence[Tensor], *, is_background: bool
    ) -> tuple[Hashable, Code]:
        """Take the first route that leads to code; a route that fails is not tried again."""
        while True:
            route = self._routes[0]
            started, known = time.perf_counter(), set(self._store.taken)
            try:
                code = route.compile(arguments, is_background=is_background)
            except CompileFailed as error:
                if self._is_closed or len(self._routes) == 1:
                    raise
                _log.warning("%s: %s; trying %s", self._key.part, error, self._routes[1].name)
                self._routes.pop(0)
            else:
                self._note_piece(route, time.perf_counter() - started, known)
                return route.layout_of(arguments), code

    def _note_piece(self, route: Compiler, seconds: float, known: set[str]) -> None:
        taken = dict(self._store.taken)
        artefact = next((name for name in taken if name not in known), None)
        is_new = artefact is None or taken[artefact] is not None
        self._pieces.append(
            Piece(
                part=self._key.part,
                route=route.name,
                seconds=seconds,
                artefact=artefact,
                is_new=is_new,
            )
        )

    def _give_up(self, reason: str) -> None:
        """Serve eagerly and say so; but not where the user asked for compiled code by name."""
        if self._is_openvino:
            message = f"{self._key.part!r} does not run on {self._key.device}: {reason}."
            raise ModelLoadError(message)
        if self._settings.backend == "inductor":
            message = (
                f"{self._key.part!r} did not compile: {reason}. "
                "Mend it, or write `compile: auto` or `compile: eager` in the model file."
            )
            raise ModelLoadError(message)
        self._failures.append(reason)
        _log.warning("%s runs eagerly: %s", self._key.part, reason)

    def _compile_later(self, layout: Hashable, arguments: Sequence[Tensor]) -> None:
        self._codes[layout] = None
        with self._lock:
            self._num_pending += 1
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._compile_orders, name=f"compile {self._key.part}", daemon=True
            )
            self._thread.start()
        self._orders.put(_blank(arguments))

    def _compile_orders(self) -> None:
        """Work off one order after the other until None comes: the background thread."""
        while (arguments := self._orders.get()) is not None:
            try:
                layout, code = self._compile(arguments, is_background=True)
                self._codes[layout] = code
                _log.info("%s: new code took over (%s)", self._key.part, self)
            except CompileFailed as error:
                if not self._is_closed:
                    self._failures.append(str(error))
                    _log.exception("%s runs eagerly for a new layout", self._key.part)
            finally:
                with self._is_idle:
                    self._num_pending -= 1
                    self._is_idle.notify_all()


def _blank(arguments: Sequence[Tensor]) -> tuple[Tensor, ...]:
    """Give memory of the same layouts, so that compiling neither sees nor touches real values."""
    # The background thread writes to them outside inference mode.
    with torch.inference_mode(mode=False):
        return tuple(
            torch.empty_strided(
                tensor.shape, tensor.stride(), dtype=tensor.dtype, device=tensor.device
            )
            for tensor in arguments
        )
