"""Handlers that need an engine which is not there."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from model_fakes.archives import make_mar

from torchloom.errors import InvalidModel, ModelLoadError
from torchloom_models.archive.missing_engine import say_missing_engine


pytestmark = pytest.mark.usefixtures("own_process")

CLASSES = {"vllm": "vllm_handler import VLLMHandler", "tensorrt_llm": "trt_llm_handler import X"}


@pytest.mark.parametrize("package", ["vllm", "tensorrt_llm"])
@pytest.mark.parametrize("how", ["itself", "TorchServe's class"])
def test_says_how_to_mend_it(
    tmp_path: Path, open_archive: Callable[..., object], package: str, how: str
) -> None:
    """A handler that imports the engine, or TorchServe's class around it, is refused by name."""
    line = (
        f"import {package}.lora" if how == "itself" else f"from ts.torch_handler.{CLASSES[package]}"
    )
    path = make_mar(tmp_path, "m", "mine.py", {"mine.py": f"{line}\n"})
    with pytest.raises(InvalidModel) as raised:
        open_archive(path)

    message = raised.value.message
    assert message.startswith(
        f"The handler 'mine.py' does not load: it needs the package {package!r}"
    )
    assert f"`pip install {package} torchserve`" in message
    assert "leave the handler's file out" in message


def test_lets_a_handler_do_without(tmp_path: Path, open_archive: Callable[..., object]) -> None:
    """It may catch the ImportError, as for any package that is not there."""
    code = (
        "try:\n    from ts.torch_handler.vllm_handler import VLLMHandler\n"
        "except ImportError:\n    VLLMHandler = None\n"
        "def handle(data, context):\n    return data\n"
    )

    open_archive(make_mar(tmp_path, "m", "mine.py", {"mine.py": code}))


def test_says_nothing_of_other_errors(tmp_path: Path, open_archive: Callable[..., object]) -> None:
    """Other packages are told as they ever were."""
    path = make_mar(tmp_path, "m", "mine.py", {"mine.py": "import no_such_package\n"})
    with pytest.raises(ModelLoadError, match="no_such_package"):
        open_archive(path)

    assert say_missing_engine(ValueError("vllm")) is None
    assert say_missing_engine(ImportError("vllm")) is None


def test_sends_archives_of_the_built_in_name_to_their_kind(
    tmp_path: Path, open_archive: Callable[..., object]
) -> None:
    """A model file of kind `handler` is told which kind it should be."""
    path = make_mar(tmp_path, "m", "vllm_handler")
    with pytest.raises(InvalidModel, match="a model of kind 'llm', and not of kind 'handler'"):
        open_archive(path)
