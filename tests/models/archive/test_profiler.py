"""Calls of handlers under torch's profiler, as the environment asks for it."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import HANDLERS, make_mar

from torchloom.engine import Result, Work
from torchloom_models.archive.engine import HandlerEngine


#: Opens an archive with the keys of a model file.
Open = Callable[..., HandlerEngine]


@pytest.mark.parametrize(("value", "count"), [("1", 1), ("true", 1), ("0", 0), ("", 0)])
def test_leaves_a_trace_where_it_is_asked_to(
    value: str, count: int, open_archive: Open, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a folder with the model's name; whatever the switch is set to, as in TorchServe."""
    files = {"net.py": (HANDLERS / "net.py").read_text()}
    source = make_mar(tmp_path, "numbers", "base_handler", files, modelFile="net.py")
    engine = open_archive(source)
    module = importlib.import_module("torchloom_models.archive.ts.torch_handler.base_handler")
    monkeypatch.setattr(module, "_PROFILES", str(tmp_path / "profiles"))
    monkeypatch.setenv("ENABLE_TORCH_PROFILER", value)
    engine.admit(Work(1, {"body": [1.0, 2.0, 3.0]}))
    (event,) = engine.step()

    assert isinstance(event, Result)
    assert len(list((tmp_path / "profiles").glob("*/*"))) == count
