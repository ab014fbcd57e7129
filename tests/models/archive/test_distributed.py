"""`ts.*.distributed`: what handlers of several processes are made from."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from torchloom_models.archive.context import Context
from torchloom_models.archive.ts.handler_utils.distributed.deepspeed import get_ds_engine
from torchloom_models.archive.ts.handler_utils.distributed.pt_pippy import get_pipeline_driver
from torchloom_models.archive.ts.torch_handler.distributed.base_deepspeed_handler import (
    BaseDeepSpeedHandler,
)


MakeContext = Callable[..., Context]


@pytest.fixture
def make_context(tmp_path: Path) -> MakeContext:
    """Make the context of an archive whose model-config.yaml says something."""

    def make(**config: object) -> Context:
        return Context("large", str(tmp_path), {}, 1, None, "0.12.0", True, None, config)

    return make


def test_gives_deepspeed_the_files_of_the_archive(
    make_context: MakeContext, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its configuration, and a checkpoint where there is one."""
    asked: list[tuple[object, dict[str, object]]] = []
    package = ModuleType("deepspeed")
    package.__dict__["init_inference"] = lambda model, **said: asked.append((model, said)) or "made"
    monkeypatch.setitem(sys.modules, "deepspeed", package)
    (tmp_path / "ds.json").write_text("{}")
    handler = BaseDeepSpeedHandler()
    handler.initialize(make_context(deepspeed={"config": "ds.json"}))

    assert get_ds_engine("model", handler.context) == "made"
    assert asked == [("model", {"config": str(tmp_path / "ds.json"), "checkpoint": None})]


@pytest.mark.parametrize(
    ("config", "message"),
    [
        ({}, "has no `deepspeed`"),
        ({"deepspeed": "ds.json"}, "has no `deepspeed`"),
        ({"deepspeed": {"config": "ds.json"}}, "the config 'ds.json': no such file"),
        ({"deepspeed": {"checkpoint": "a"}}, "the checkpoint 'a': no such file"),
    ],
)
def test_says_what_deepspeed_lacks(
    make_context: MakeContext, config: dict[str, object], message: str
) -> None:
    """As the archive's file has it."""
    with pytest.raises(ValueError, match=message):
        get_ds_engine("model", make_context(**config))


def test_names_the_package_that_is_not_installed(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither of them comes with this one."""
    for name in ("deepspeed", "pippy"):
        monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(ImportError, match="package deepspeed, which is not installed"):
        get_ds_engine("model", make_context(deepspeed={}))
    with pytest.raises(ImportError, match=r"torchpippy.*torch\.distributed\.pipelining"):
        get_pipeline_driver(torch.nn.Identity(), 2, make_context())


def test_asks_pippy_for_as_many_stages_as_there_are_processes(
    make_context: MakeContext, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With the arguments that are no inputs fixed; what it needs must be said."""
    asked: list[dict[str, object]] = []
    package = ModuleType("pippy")
    package.__dict__["split_into_equal_size"] = lambda count: f"{count} parts"
    package.__dict__["all_compile"] = lambda _, **said: asked.append(said) or ("driver", "mode")
    monkeypatch.setitem(sys.modules, "pippy", package)
    said = {"input_names": ["input"], "model_type": "OPT", "chunks": 2}
    model = torch.nn.Identity()
    context = make_context(pippy=said, handler={"model_path": "."})

    assert get_pipeline_driver(model, 2, context) == "driver"
    assert (asked[0]["num_ranks"], asked[0]["num_chunks"]) == (2, 2)
    assert (asked[0]["split_policy"], asked[0]["concrete_args"]) == ("2 parts", {})
    assert not model.training
    with pytest.raises(ValueError, match=r"`handler` of model-config\.yaml has no `model_path`"):
        get_pipeline_driver(model, 2, make_context(pippy=said))
