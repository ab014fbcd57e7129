"""Recipe: what all compiled code of a model on a device has in common. Knows no kind of model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Self

import torch
from torch import nn

from torchloom_models.artefact import ArtefactKey
from torchloom_models.compile import CompiledCallable
from torchloom_models.compile_settings import CompileSettings
from torchloom_models.compiler import Dims


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How to compile, by which key code is found again, and where it is kept, if it is."""

    settings: CompileSettings
    key: ArtefactKey
    folder: Path | None

    def of_part(self, part: str, *, dtype: torch.dtype | None = None) -> Self:
        """Give that of a part of the engine, which may have a dtype of its own."""
        name = self.key.dtype if dtype is None else str(dtype)
        return replace(self, key=replace(self.key, part=part, dtype=name))

    def compile(
        self, module: nn.Module, *, dims: Dims | None, num_held: int = 0
    ) -> CompiledCallable:
        """Put a module behind compiled code; see CompiledCallable."""
        return CompiledCallable(
            module,
            settings=self.settings,
            key=self.key,
            folder=self.folder,
            dims=dims,
            num_held=num_held,
        )
