"""Engines that are opened to tell what was compiled."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import cast

import pytest
import torch

from torchloom.device import Device
from torchloom.engine import Result, Work
from torchloom.errors import ModelLoadError
from torchloom_models import compile as compile_layer
from torchloom_models.compiler import CompileFailed
from torchloom_models.rehearsal import open_rehearsal


pytestmark = pytest.mark.slow


class Refusal:
    """A route that leads nowhere."""

    name = "no way"

    def layout_of(self, arguments: object) -> str:  # noqa: ARG002 - a route's face
        """Tell nothing apart."""
        return "all"

    def compile(self, arguments: object, *, is_background: bool) -> None:  # noqa: ARG002
        """Fail."""
        raise CompileFailed("no luck")

    def close(self) -> None:
        """Do nothing."""


@pytest.fixture
def config(tmp_path: Path) -> dict[str, object]:
    """Give the config of a module to rehearse."""
    program = torch.export.export(torch.nn.Linear(4, 2), (torch.ones(1, 4),))
    torch.export.save(program, tmp_path / "net.pt2")
    source = {"source": str(tmp_path / "net.pt2"), "artefacts": str(tmp_path / "artefacts")}
    return {"factory": "torchloom_models.module:open_module", "config": source}


def silent(what: str, fraction: float | None) -> None:
    """Report nothing."""


def told(config: Mapping[str, object], device: str = "cpu") -> Mapping[str, object]:
    """Open a rehearsal and ask it."""
    engine = open_rehearsal(config, Device.parse(device), silent)
    engine.admit(Work(1, {}))
    (event,) = engine.step()
    engine.close()
    return cast("Result", event).outputs


def test_tells_why_something_runs_eagerly(
    config: dict[str, object], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What `auto` puts up with is what one wants to know beforehand."""
    monkeypatch.setattr(compile_layer, "AotCompiler", lambda *_, **__: Refusal())
    monkeypatch.setattr(compile_layer, "JitCompiler", lambda *_, **__: Refusal())

    assert told(config) == {"pieces": [], "failures": ["no luck"]}


def test_tells_of_nothing_where_all_is_eager(config: dict[str, object]) -> None:
    """An eager engine compiles nothing, and nothing has failed."""
    source = cast("dict[str, object]", config["config"])

    assert told({**config, "config": {**source, "compile": "eager"}}) == {
        "pieces": [],
        "failures": [],
    }


def test_tells_what_was_compiled_where_devices_were_tried(config: dict[str, object]) -> None:
    """That of all devices, each piece once, and as new; the next start finds the winner's."""
    pytest.importorskip("openvino")

    first = told(config, "auto")
    second = told(config, "auto")

    pieces = cast("list[dict[str, object]]", first["pieces"])
    (again,) = cast("list[dict[str, object]]", second["pieces"])
    assert [(piece["route"], piece["is_new"]) for piece in pieces] == [
        ("ahead of time", True),
        ("OpenVINO", True),
    ]
    assert again["artefact"] in {piece["artefact"] for piece in pieces}
    assert not again["is_new"]
    assert first["failures"] == second["failures"] == []


def test_fails_as_the_engine_itself_does(config: dict[str, object]) -> None:
    """An engine that cannot be opened cannot be rehearsed."""
    with pytest.raises(ModelLoadError, match="does not exist"):
        told({**config, "config": {"source": "/nowhere/net.pt2"}})
