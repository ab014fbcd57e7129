"""Setup: what all parts are told: the device, the sizes, where to work and where to write.

Knows no part.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import torch

from benchmarks.gpu.side import COMPILE
from benchmarks.report import RESULTS, Report


@dataclass(frozen=True, slots=True, kw_only=True)
class Setup:
    """What the command line said. `work` holds the models that parts make, each made once."""

    device: str
    is_small: bool
    out: Path
    work: Path
    sides: tuple[str, ...]
    repeats: int

    @classmethod
    def from_arguments(cls, options: argparse.Namespace) -> Self:
        """Take what `add_arguments` has parsed."""
        out = options.out or (_rehearsal_folder() if options.small else RESULTS / "gpu")
        work = options.work or Path(tempfile.mkdtemp(prefix="torchloom-bench-"))
        return cls(
            device=options.device,
            is_small=options.small,
            out=out.resolve(),
            work=work.resolve(),
            sides=tuple(options.sides),
            repeats=options.repeats,
        )

    @classmethod
    def parse(cls) -> Self:
        """Read the command line of a part."""
        parser = argparse.ArgumentParser()
        add_arguments(parser)
        return cls.from_arguments(parser.parse_args())

    @property
    def arguments(self) -> list[str]:
        """The same as a command line."""
        small = ["--small"] if self.is_small else []
        folders = ["--out", str(self.out), "--work", str(self.work)]
        sides = ["--sides", ",".join(self.sides)]
        numbers = ["--repeats", str(self.repeats)]
        return ["--device", self.device, *small, *folders, *sides, *numbers]

    @property
    def is_cuda(self) -> bool:
        """Whether it is about a GPU."""
        return self.device.startswith("cuda")

    @property
    def dtype(self) -> str:
        """The dtype of large models."""
        return "bfloat16" if self.is_cuda else "float32"

    def report(self, name: str, title: str, columns: Sequence[str]) -> Report:
        """Begin the report of a part."""
        small = " --small" if self.is_small else ""
        return Report(
            name=f"gpu_{name}",
            title=f"{title} ({self.device}{', small' if self.is_small else ''})",
            columns=columns,
            facts=self._facts(),
            folder=self.out,
            command=f"python -m benchmarks gpu --only {name} --device {self.device}{small}",
        )

    def _facts(self) -> dict[str, object]:
        facts: dict[str, object] = {"load": round(os.getloadavg()[0], 1)}
        if self.is_cuda:
            properties = torch.cuda.get_device_properties(self.device)
            facts["gpu"] = properties.name
            facts["gpu_memory_gib"] = round(properties.total_memory / 2**30)
            facts["cuda"] = torch.version.cuda
        return facts


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the options that all parts take."""
    parser.add_argument("--device", default="cuda", help="device of the model files")
    parser.add_argument("--small", action="store_true", help="tiny sizes, to try the benchmark")
    parser.add_argument("--out", type=Path, help="folder of the results")
    parser.add_argument("--work", type=Path, help="folder of the models that are made")
    parser.add_argument(
        "--sides",
        type=lambda text: text.split(","),
        default=list(COMPILE),
        help=f"what to compile by, with commas: {','.join(COMPILE)}",
    )
    parser.add_argument("--repeats", type=int, default=3)


def _rehearsal_folder() -> Path:
    return Path(tempfile.gettempdir()) / "torchloom-bench-rehearsal"
