"""Recipe: parts of an engine share all but their names and, maybe, their dtypes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from torchloom_models.artefact import ArtefactKey
from torchloom_models.compile_settings import CompileSettings
from torchloom_models.recipe import Recipe


pytestmark = pytest.mark.slow


def test_names_each_part_and_what_it_calculates_in(tmp_path: Path) -> None:
    """All else of the key is the model's; a part without a dtype of its own has the model's."""
    key = ArtefactKey(model="m", dtype="torch.float16", device="cpu", name="sd")
    recipe = Recipe(settings=CompileSettings(backend="eager"), key=key, folder=tmp_path)

    text, decoder = recipe.of_part("text"), recipe.of_part("decode", dtype=torch.float32)

    assert text.key == ArtefactKey(
        model="m", dtype="torch.float16", device="cpu", part="text", name="sd"
    )
    assert decoder.key.dtype == "torch.float32"
    code = decoder.compile(nn.ReLU(), dims=None)
    assert (code.status().part, code.status().state) == ("decode", "eager")
    assert code(torch.tensor([-1.0])) == torch.tensor([0.0])
    code.close()
