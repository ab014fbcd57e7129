"""AotBuild: the child process that turns an exported program into a package. Knows no engine.

Run as `python -m torchloom_models.aot_build FOLDER`: reads program.pt2 and order.json in FOLDER,
writes code.pt2.
"""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import ClassVar

import torch
from torch import Tensor, _inductor, nn
from torch.export import ExportedProgram

from torchloom_models.child import Child, leave_with_parent
from torchloom_models.compiler import CompileFailed


_PROGRAM = "program.pt2"
_ORDER = "order.json"
_LOG = "build.log"


@dataclass(frozen=True, slots=True, kw_only=True)
class BuildOrder:
    """What the child is told. `mode` is one of torch.compile's; `threads` goes into the code."""

    threads: int
    niceness: int
    mode: str


class AotBuild:
    """One build, in one folder that it may use as it likes."""

    #: The name of the finished package inside the folder.
    PACKAGE: ClassVar[str] = "code.pt2"

    def __init__(self, folder: Path, order: BuildOrder, *, inductor_folder: Path) -> None:
        self._folder = folder
        self._order = order
        self._inductor_folder = inductor_folder
        self._child: Child | None = None

    def run(self, program: ExportedProgram) -> None:
        """Write what the child needs, run it, and tidy up. Raises CompileFailed."""
        torch.export.save(program, self._folder / _PROGRAM)
        order = json.dumps(asdict(self._order))
        (self._folder / _ORDER).write_text(order, encoding="utf-8")
        code = self._run_child()
        if code != 0:
            raise CompileFailed(f"inductor failed: {self._last_words() or f'exit code {code}'}")
        for name in (_PROGRAM, _ORDER, _LOG):
            (self._folder / name).unlink(missing_ok=True)

    def stop(self) -> None:
        """End the child, if it runs. The build then fails."""
        if self._child is not None:
            self._child.stop()

    def _run_child(self) -> int:
        environment = {"TORCHINDUCTOR_CACHE_DIR": str(self._inductor_folder)}
        with (
            (self._folder / _LOG).open("wb") as log,
            Child(
                "torchloom_models.aot_build", str(self._folder), log=log, environment=environment
            ) as self._child,
        ):
            return self._child.wait()

    def _last_words(self) -> str:
        lines = (self._folder / _LOG).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(line for line in lines if line.strip())[-2000:]


def main(folder: Path) -> None:
    """Build the package. Whatever goes wrong ends the process with a traceback in its log."""
    leave_with_parent()
    order = BuildOrder(**json.loads((folder / _ORDER).read_text(encoding="utf-8")))
    os.nice(order.niceness)
    torch.set_num_threads(order.threads)
    program = torch.export.load(folder / _PROGRAM)
    state = {name: _filled(tensor) for name, tensor in program.state_dict.items()}
    program._state_dict = state  # noqa: SLF001 - the setter forbids what is meant here
    options = {} if order.mode == "default" else _inductor.list_mode_options(order.mode)
    options |= {
        "aot_inductor.package_constants_in_so": False,
        # One package a build: a header compiled for the next one only takes disk and time.
        "aot_inductor.precompile_headers": False,
    }
    package = str(folder / AotBuild.PACKAGE)
    with torch.no_grad():
        _inductor.aoti_compile_and_package(program, package_path=package, inductor_configs=options)
    # A toolchain that links badly makes code that ends whoever loads it: better this process.
    torch._C._aoti.AOTIModelPackageLoader(package, "model", False, 1, -1)  # noqa: SLF001


def _filled(tensor: Tensor) -> Tensor:
    """Put memory behind a shape. Its values are never read, so the system never gives it."""
    if not tensor.is_meta:
        return tensor
    empty = torch.empty_strided(tensor.shape, tensor.stride(), dtype=tensor.dtype)
    return nn.Parameter(empty, requires_grad=False) if isinstance(tensor, nn.Parameter) else empty


if __name__ == "__main__":
    main(Path(sys.argv[1]))
