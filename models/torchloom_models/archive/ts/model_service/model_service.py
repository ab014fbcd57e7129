"""`ts.model_service.model_service`: base classes of handlers that came from Multi Model Server."""

from __future__ import annotations

import ast
import json
import logging
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from torchloom_models.archive.context import Context


class ModelService:
    """A handler that knows from a signature file what it is sent. Subclasses have `inference`."""

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: Mapping[str, Any],
        gpu: int | None = None,
    ) -> None:
        del model_name, model_dir, manifest, gpu  # TorchServe's own face; the context has them
        self.ctx: Context | None = None
        self._context: Context | None = None
        self._signature: dict[str, Any] = {}

    def initialize(self, context: Context) -> None:
        """Read the signature that the manifest names. Raises ValueError where it is not there."""
        self._context = context
        folder = Path(str(context.system_properties.get("model_dir")))
        model: Any = context.manifest["Model"]
        file = folder / model["Signature"]
        if not file.is_file():
            raise ValueError(f"Signature file is not found: {file}")
        self._signature = json.loads(file.read_text(encoding="utf-8"))

    def inference(self, data: list[Any]) -> Any:
        """Make answers of inputs; a subclass's own."""
        raise NotImplementedError(f"{type(self).__name__} has no `inference`.")

    def ping(self) -> Any:
        """Tell how the model is; a subclass's own."""

    def signature(self) -> dict[str, Any]:
        """Give the signature."""
        return self._signature

    def handle(
        self,
        data: Sequence[Mapping[str, Any]],
        context: Context,  # noqa: ARG002 - TorchServe's own face
    ) -> list[Any]:
        """Take the first row: the field of the signature's first input, `body`, or `data`."""
        row = data[0]
        names = (self._signature["inputs"][0]["data_name"], "body", "data")
        found = next((row[name] for name in names if row.get(name) is not None), None)
        is_json = self._signature["input_type"] == "application/json"
        if is_json and isinstance(found, bytes | bytearray):
            found = ast.literal_eval(found.decode())
        given = self.inference([found])
        return given if isinstance(given, list) else [given]


class SingleNodeService(ModelService):
    """A handler of one model, in three steps that subclasses have."""

    def inference(self, data: list[Any]) -> Any:
        """Run the steps, and log how long each took."""
        given: Any = data
        for name in ("preprocess", "inference", "postprocess"):
            began = time.perf_counter()
            given = getattr(self, f"_{name}")(given)
            took_ms = (time.perf_counter() - began) * 1000
            logging.info("%s time: %.2f", name, took_ms)  # noqa: LOG015 - TorchServe's own line
        return given

    def _preprocess(self, data: Any) -> Any:
        return data

    def _inference(self, data: Any) -> Any:
        return data

    def _postprocess(self, data: Any) -> Any:
        return data


__all__ = ["ModelService", "SingleNodeService"]
