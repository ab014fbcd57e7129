"""`ts.model_service.model_service`: base classes of handlers that came from Multi Model Server."""

from __future__ import annotations

import ast
import json
import logging
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from torchloom_models.archive.context import Context


#: Where an input lies that does not go by its own name.
_USUAL_FIELDS: Final = ("body", "data")


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
        """Answer the first row only. KeyError where the signature does not say what it holds."""
        answer = self.inference([_Input.of(self._signature).read(data[0])])
        return answer if isinstance(answer, list) else [answer]


@dataclass(frozen=True)
class _Input:
    """What a signature says of the first input."""

    #: Where it may lie in a row, the likeliest first.
    fields: tuple[str, ...]
    #: Whether bytes are text of numbers, lists and the like.
    is_written: bool

    @classmethod
    def of(cls, signature: Mapping[str, Any]) -> _Input:
        """Take what counts out of it."""
        own_name = signature["inputs"][0]["data_name"]
        return cls((own_name, *_USUAL_FIELDS), signature["input_type"] == "application/json")

    def read(self, row: Mapping[str, Any]) -> Any:
        """Give the input; None where there is none. ValueError, SyntaxError: no such text."""
        held = (row[field] for field in self.fields if row.get(field) is not None)
        match next(held, None):
            case bytes() | bytearray() as text if self.is_written:
                return ast.literal_eval(text.decode())
            case sent:
                return sent


@contextmanager
def _stopwatch(step: str) -> Iterator[None]:
    """Log how long a step takes that ends well."""
    began = time.perf_counter()
    yield
    took_ms = (time.perf_counter() - began) * 1000
    logging.info("%s time: %.2f", step, took_ms)  # noqa: LOG015 - TorchServe's own line


class SingleNodeService(ModelService):
    """A handler of one model, in three steps that subclasses have."""

    def inference(self, data: list[Any]) -> Any:
        """Run the steps, and log how long each took."""
        with _stopwatch("preprocess"):
            ready = self._preprocess(data)
        with _stopwatch("inference"):
            found = self._inference(ready)
        with _stopwatch("postprocess"):
            return self._postprocess(found)

    def _preprocess(self, data: Any) -> Any:
        return data

    def _inference(self, data: Any) -> Any:
        return data

    def _postprocess(self, data: Any) -> Any:
        return data


__all__ = ["ModelService", "SingleNodeService"]
