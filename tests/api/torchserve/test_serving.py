"""The way from the command line to the API."""

from __future__ import annotations

import sys
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

import pytest

from torchloom_api.torchserve import serving
from torchloom_api.torchserve.config import Config
from torchloom_api.torchserve.settings import TorchServeSettings


SETTINGS = TorchServeSettings(
    config=Config(),
    given={},
    model_store=Path(),
    workflow_store=Path(),
    log_location=Path(),
    metrics_location=Path(),
    key_file=Path("key_file.json"),
)


def test_hands_the_settings_to_the_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """The API gets the one frozen object, and what to call when it serves."""
    seen: list[object] = []
    module = ModuleType("stand_in")
    module.__spec__ = ModuleSpec("stand_in", None)
    vars(module)["run"] = lambda settings, on_ready: (seen.append(settings), on_ready())
    monkeypatch.setitem(sys.modules, "stand_in", module)
    monkeypatch.setattr(serving, "_SERVER", "stand_in")
    serving.serve_torchserve(SETTINGS, on_ready=lambda: seen.append("ready"))
    assert seen == [SETTINGS, "ready"]


def test_says_where_there_is_no_api(monkeypatch: pytest.MonkeyPatch) -> None:
    """A build without it ends with what can be done in its place."""
    monkeypatch.setattr(serving, "_SERVER", "torchloom_api.torchserve.no_such_module")
    with pytest.raises(serving.NotBuilt, match="torchloom migrate"):
        serving.serve_torchserve(SETTINGS, on_ready=lambda: None)
