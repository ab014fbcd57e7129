"""MissingEngine: what to say of an engine that a handler imports, and that is not here."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from torchloom_models.archive.llm.language_model import TRT_LLM, VLLM


#: The packages of engines, and the built-in handler that needs neither.
_ENGINES: Final[Mapping[str, str]] = {"vllm": VLLM, "tensorrt_llm": TRT_LLM}


def say_missing_engine(error: BaseException) -> str | None:
    """Say which engine an import has not found, and how to mend it; None for any other error."""
    package = (error.name or "").partition(".")[0] if isinstance(error, ImportError) else ""
    if package not in _ENGINES:
        return None
    return (
        f"it needs the package {package!r}, which is not in the server's environment. Install it "
        f"there, and for the classes of `ts.torch_handler.{_ENGINES[package]}` TorchServe as well "
        f"(`pip install {package} torchserve`). Or leave the handler's file out of the archive and "
        f"name the handler {_ENGINES[package]!r}: TorchLoom's own engine then serves the model, "
        "without either."
    )
