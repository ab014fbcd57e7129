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
  layer a buffer of its own: one stacked buffer is slow. Say with `num_held` how many of the last
  arguments are such: on CUDA all others are copied where code is recorded (`cuda_graph.py`).
- A layout is the dtypes, shapes and strides of all arguments. A size that `dims` names may vary
  within one piece of code. Any other size that is new compiles in the background while calls run
  eagerly: pad to buckets (`buckets.py`), so that there are few, and ask `first_ready` which larger
  one may serve meanwhile. The layout that is asked for most compiles first, one at a time,
  MAX_LAYOUTS in all; what is beyond stays eager. Arguments are on the key's device.
- What `warm_up` gets decides what the code is tuned for: typical sizes, 2 or more where they vary.
  What calls ask for is noted in the folder; the next `warm_up` compiles that as well.
- On an OpenVINO device (a key whose device is "openvino:…"; arguments are on the CPU) OpenVINO's
  code answers, or nobody does: a layout that is new compiles before its first answer, and forward
  must not write in place.
- Calls come from one thread at a time. `status()` says what is compiled, what still compiles and
  what never will; `wait()` returns when nothing compiles.
Compiled code gives what eager code gives, up to the order of sums: within 1e-5 of the largest value
in float32, 1e-2 in bfloat16. Everything runs in inference mode. Knows no kind of model.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Hashable, Iterable, Sequence
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from torchloom.code_status import CodeState, CodeStatus
from torchloom.deployment import Report
from torchloom.errors import ModelLoadError, TaskFailed
from torchloom_models.aot import AotCompiler
from torchloom_models.artefact import ArtefactKey, ArtefactStore, digest_of_text
from torchloom_models.compile_line import CompileLine
from torchloom_models.compile_settings import CompileSettings
from torchloom_models.compiler import Code, CompileFailed, Compiler, Dim, Dims
from torchloom_models.cuda_graph import RecordedCode
from torchloom_models.demand import Demand, Like, Likes, describe
from torchloom_models.jit import JitCompiler
from torchloom_models.openvino_compiler import OpenvinoCompiler
from torchloom_models.piece import Piece
from torchloom_models.watch import tell_watcher


__all__ = ["ArtefactKey", "CompileSettings", "CompiledCallable", "Dim"]

_log = logging.getLogger(__name__)

#: Layouts that may compile while the engine serves; on OpenVINO's devices, that are held at once.
MAX_LAYOUTS = 64

#: Layouts of earlier traffic that are compiled before the engine is ready.
MAX_WARMED = 16

#: Reasons that a status gives, the latest.
_MAX_REASONS = 8


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
        num_held: int = 0,
    ) -> None:
        self._module = module
        self._num_held = num_held
        self._settings = settings
        self._key = key
        self._is_openvino = key.device.startswith("openvino:")
        self._temporary = None if folder else Path(tempfile.mkdtemp(prefix="torchloom-"))
        self._store = ArtefactStore(cast("Path", folder or self._temporary))
        self._routes = self._plan(dims)
        self._codes: dict[Hashable, Code] = {}
        #: Layouts that do not compile.
        self._failed: set[Hashable] = set()
        self._demand = Demand(self._note_file(folder, dims))
        self._line = CompileLine(
            f"compile {key.part}",
            compile_one=self._compile_late,
            rank=self._demand.__getitem__,
            max_layouts=MAX_LAYOUTS,
        )
        self._failures: list[str] = []
        self._is_closed = False
        self._pieces: list[Piece] = []
        tell_watcher(self)

    def __call__(self, *arguments: Tensor) -> object:
        """Run forward: compiled where there is code for this layout, eagerly otherwise."""
        with torch.inference_mode():
            if not self._routes:
                return self._module(*arguments)
            layout = self._routes[0].layout_of(arguments)
            self._demand.count(layout, arguments)
            code = self._codes.get(layout)
            if code is not None:
                return code(arguments)
            if self._is_openvino:
                return self._compile_first(layout, arguments)(arguments)
            if layout not in self._failed:
                self._line.add(layout, arguments)
            return self._module(*arguments)

    def first_ready(self, candidates: Iterable[tuple[Tensor, ...]]) -> int:
        """Give the place of the first of some layouts that there is code for; 0 where none is.

        The first of them is the one that is wanted: it compiles beside, where another is ready.
        Values do not matter: tensors on "meta" will do.
        """
        wanted: tuple[Tensor, ...] | None = None
        for place, candidate in enumerate(candidates if self._routes else ()):
            if self._routes[0].layout_of(candidate) in self._codes:
                if wanted is not None:
                    self._want(wanted)
                return place
            wanted = wanted or candidate
        return 0

    def warm_up(self, examples: Sequence[tuple[Tensor, ...]], report: Report) -> None:
        """Compile for each example and call it, so that what it writes in place is written to them.

        Raises ModelLoadError where a call fails, or where nothing but compiled code will do and it
        does not compile.
        """
        noted = self._demand.layouts()[:MAX_WARMED] if self._routes else []
        total = len(examples) + len(noted)
        for number, example in enumerate(examples):
            report(f"compiling {self._key.part}", number / total)
            self._compile_now(example)
            try:
                with torch.inference_mode():
                    self._run(example)
            except Exception as error:
                message = f"The warm-up of {self._key.part!r} failed: {error}"
                raise ModelLoadError(message) from error
        for number, likes in enumerate(noted, len(examples)):
            report(f"compiling {self._key.part} for earlier traffic", number / total)
            self._compile_noted(likes)
        report(f"compiled {self._key.part}", 1.0)

    @property
    def pending(self) -> int:
        """How many layouts compile, or wait for it."""
        return self._line.pending

    @property
    def is_compiled(self) -> bool:
        """Whether there is compiled code for any layout."""
        return bool(self._codes)

    @property
    def pieces(self) -> tuple[Piece, ...]:
        """What was compiled, or found compiled, in the order in which it came."""
        return tuple(self._pieces)

    @property
    def failures(self) -> tuple[str, ...]:
        """Why layouts run eagerly for good."""
        return tuple(self._failures)

    def status(self) -> CodeStatus:
        """Say how the code stands, for whoever operates the server; never waits."""
        pending = tuple(describe(likes) for likes in self._line.unfinished())
        reasons = list(dict.fromkeys(self._failures))[-_MAX_REASONS:]
        if self._line.is_used_up:
            reasons.append(f"{MAX_LAYOUTS} layouts were compiled; others run eagerly")
        state: CodeState = "none"
        if pending:
            state = "compiling"
        elif self._codes:
            state = "compiled"
        elif not self._routes or (reasons and not self._is_openvino):
            state = "eager"
        return CodeStatus(
            part=self._key.part,
            state=state,
            num_compiled=len(self._codes),
            pending=pending,
            failures=tuple(reasons),
        )

    def wait(self, timeout_s: float | None = None) -> bool:
        """Return when nothing compiles any more (True), or when the time is over (False)."""
        return self._line.wait(timeout_s)

    def close(self) -> None:
        """End what still compiles, note what was asked for, and remove what is not to be kept."""
        self._is_closed = True
        for route in self._routes:
            route.close()
        self._line.close()
        self._demand.save()
        if self._temporary is not None:
            shutil.rmtree(self._temporary, ignore_errors=True)

    def __repr__(self) -> str:
        """Say what is compiled."""
        route = self._routes[0].name if self._routes else "eager"
        counts = f"{len(self._codes)} compiled, {self.pending} pending"
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
        mode = settings.inductor_mode
        just_in_time = JitCompiler(
            self._module, folder=self._store.root / "inductor", dims=dims, mode=mode
        )
        if self._key.device != "cpu":
            return [just_in_time]
        ahead = AotCompiler(self._module, store=self._store, key=self._key, dims=dims, mode=mode)
        return [ahead, just_in_time]

    def _run(self, arguments: tuple[Tensor, ...]) -> None:
        """Run forward on an example, which is no demand."""
        code = self._codes.get(self._routes[0].layout_of(arguments)) if self._routes else None
        if isinstance(code, RecordedCode):
            code.record(arguments)
        elif code is not None:
            code(arguments)
        else:
            self._module(*arguments)

    def _compile_now(self, arguments: tuple[Tensor, ...]) -> None:
        """Compile in this thread, unless there is code already, or no route to it."""
        if not self._routes or self._routes[0].layout_of(arguments) in self._codes:
            return
        try:
            self._compile(_likes(arguments), is_background=False)
        except CompileFailed as error:
            self._failed.add(self._routes[0].layout_of(arguments))
            self._give_up(str(error))

    def _compile_noted(self, likes: Likes) -> None:
        """Compile what an earlier start was asked for; a note that misleads spoils nothing."""
        try:
            if self._routes[0].layout_of(self._blank(likes)) not in self._codes:
                self._compile(likes, is_background=False)
        except (CompileFailed, RuntimeError, ValueError, TypeError) as error:
            _log.warning("%s: not compiled for earlier traffic: %s", self._key.part, error)

    def _compile_first(self, layout: Hashable, arguments: Sequence[Tensor]) -> Code:
        """Compile before the answer, where nothing else may answer. Raises TaskFailed."""
        if self._line.has_taken(layout):
            self._line.wait()
        if layout in self._failed:
            raise TaskFailed(f"{self._key.part!r} did not compile for these sizes; see the log.")
        if layout in self._codes:
            return self._codes[layout]
        while len(self._codes) >= MAX_LAYOUTS:
            del self._codes[min(self._codes, key=self._demand.__getitem__)]
        try:
            return self._compile(_likes(arguments), is_background=False)
        except CompileFailed as error:
            self._failed.add(layout)
            self._failures.append(str(error))
            _log.warning("%s does not compile for a new layout: %s", self._key.part, error)
            message = f"{self._key.part!r} does not compile for {self._key.device}: {error}."
            raise TaskFailed(message) from error

    def _compile_late(self, layout: Hashable, likes: Likes) -> None:
        """Compile beside the serving: called in the line's thread."""
        try:
            self._compile(likes, is_background=True)
            _log.info("%s: new code took over (%s)", self._key.part, self)
        except (CompileFailed, RuntimeError) as error:
            if not self._is_closed:
                self._failed.add(layout)
                self._failures.append(str(error))
                _log.exception("%s runs eagerly for a new layout", self._key.part)
        self._demand.save()
        if self._line.is_used_up:
            message = "%s: %d layouts were compiled; whatever else is asked for runs eagerly"
            _log.warning(message, self._key.part, MAX_LAYOUTS)

    def _want(self, arguments: tuple[Tensor, ...]) -> None:
        """Have a layout compiled beside, and count it, since it was asked for."""
        layout = self._routes[0].layout_of(arguments)
        self._demand.count(layout, arguments)
        if layout not in self._failed:
            self._line.add(layout, arguments)

    def _compile(self, likes: Likes, *, is_background: bool) -> Code:
        """Take the first route that leads to code; a route that fails is not tried again.

        The code answers from now on.
        """
        arguments = self._blank(likes)
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
                if self._settings.records_on(self._key.device):
                    code = RecordedCode(code, num_held=self._num_held)
                self._codes[route.layout_of(arguments)] = code
                return code

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
            message = (
                f"{self._key.part!r} does not run on {self._key.device}: {reason}. Name another "
                "device in the model file, such as `devices: [cpu]`, or `devices: [auto]`, which "
                "takes the fastest that it does run on."
            )
            raise ModelLoadError(message)
        if self._settings.backend == "inductor":
            message = (
                f"{self._key.part!r} did not compile: {reason}. "
                "Mend it, or write `compile: auto` or `compile: eager` in the model file."
            )
            raise ModelLoadError(message)
        self._failures.append(reason)
        _log.warning("%s runs eagerly: %s", self._key.part, reason)

    def _blank(self, likes: Likes) -> tuple[Tensor, ...]:
        """Give memory of these layouts: compiling neither sees nor touches real values."""
        place = "cpu" if self._is_openvino else self._key.device
        # The background thread writes to them outside inference mode.
        with torch.inference_mode(mode=False):
            return tuple(like.blank(place) for like in likes)

    def _note_file(self, folder: Path | None, dims: Dims | None) -> Path | None:
        """Give the file where what is asked for is noted; None where nothing is kept."""
        if folder is None or self._settings.backend == "eager":
            return None
        key = self._key
        dims = dims if self._settings.dynamic else None
        digest = digest_of_text(key.model, key.dtype, key.device, key.part, repr(dims))
        return folder / "demand" / f"{key.part}-{digest}.json"


def _likes(arguments: Sequence[Tensor]) -> Likes:
    return tuple(Like.of(tensor) for tensor in arguments)
