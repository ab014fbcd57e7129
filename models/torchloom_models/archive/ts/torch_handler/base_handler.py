"""`ts.torch_handler.base_handler`: what most handlers are made from.

`initialize` opens the weights with the runtime that fits them (see `runtime/table.py`); the stages
`preprocess`, `inference` and `postprocess` are there to be replaced.
"""

from __future__ import annotations

import abc
import importlib.util
import logging
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import torch

from torchloom_models.archive.compile_config import CompileConfig
from torchloom_models.archive.label import load_label_mapping
from torchloom_models.archive.runtime.table import Weights, name_runtime, open_weights
from torchloom_models.archive.ts.handler_utils.timer import timed


logger = logging.getLogger(__name__)

# What there is, for handlers that import these names to open their weights by themselves.
PT2_AVAILABLE: Final = True
PT230_AVAILABLE: Final = True
PROFILER_AVAILABLE: Final = True
XLA_AVAILABLE: Final = False
IPEX_AVAILABLE: Final = False
ONNX_AVAILABLE: Final = importlib.util.find_spec("onnxruntime") is not None

_NAMES: Final = "index_to_name.json"

#: Where profiles go.
_PROFILES: Final = "/tmp/pytorch_profiler"  # noqa: S108 - TorchServe's place, which users look in


#: Values of a switch in the environment that leave it off.
_OFF: Final = ("", "0", "false")


class BaseHandler(abc.ABC):  # noqa: B024 - users' handlers expect this base
    """A handler around one model."""

    def __init__(self) -> None:
        self.model: Any = None
        self.mapping: dict[str, str] | None = None
        self.device: Any = None
        self.initialized = False
        self.context: Any = None
        self.model_pt_path: str | None = None
        self.manifest: Any = None
        self.map_location: str | None = None
        self.explain = False
        self.target: Any = 0
        self.profiler_args: dict[str, Any] = {}
        self.model_yaml_config: Mapping[str, Any] = {}

    def initialize(self, context: Any) -> None:
        """Open the archive's weights. Raises ModelLoadError and InvalidModel, with the reason."""
        self.context = context
        self.manifest = context.manifest
        self.model_yaml_config = context.model_yaml_config or {}
        self.device = self.get_device(context)
        self.map_location = self.device.type
        folder = Path(str(context.system_properties.get("model_dir")))
        model = self.manifest.get("model", {})
        file, model_file = model.get("serializedFile"), model.get("modelFile")
        self.model_pt_path = str(folder / file) if file else None
        config = CompileConfig.read(self.model_yaml_config.get("pt2"))
        weights = Weights(
            folder=folder,
            file=folder / file if file else None,
            model_file=folder / model_file if model_file else None,
            device=str(self.device),
            is_exported=config.is_exported,
        )
        self.model = self._open(weights)
        if config.arguments is not None:
            logger.info("The model is compiled as its configuration says: %s", config.arguments)
            self.model = torch.compile(self.model, **config.arguments)  # type: ignore[call-overload]  # the user's own arguments
        self.mapping = load_label_mapping(folder / _NAMES)
        self.initialized = True

    def get_device(self, context: Any = None) -> torch.device:
        """Give the device that the server has chosen for this worker."""
        gpu_id = (context or self.context).system_properties.get("gpu_id")
        return torch.device("cpu" if gpu_id is None else f"cuda:{gpu_id}")

    def _open(self, weights: Weights) -> Any:
        """Open the weights by the helper for their runtime.

        Handlers replace those helpers, and may name another device there. What they give is, as in
        TorchServe, neither on the device nor set to evaluate before this does it.
        """
        name = name_runtime(weights)
        if name == "eager":
            folder, file = str(weights.folder), str(weights.model_file)
            model = self._load_pickled_model(folder, Path(file).name, self.model_pt_path)
            model.to(self.device)
            model.eval()
            return model
        if name == "torchscript":
            model = self._load_torchscript_model(str(weights.file))
            model.eval()
            return model
        if name == "aoti":
            return self._load_torch_export_aot_compile(str(weights.file))
        return open_weights(name, weights)

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> Any:
        """Make the class of the model file, with its state_dict."""
        weights = Weights(
            folder=Path(model_dir),
            file=Path(model_pt_path) if model_pt_path else None,
            model_file=Path(model_dir) / model_file,
            device=str(self.device),
        )
        return open_weights("eager", weights)

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        """Open a script."""
        return open_weights("torchscript", self._weights_at(model_pt_path))

    def _load_torch_export_aot_compile(self, model_so_path: str) -> Any:
        """Open code of AOTInductor."""
        return open_weights("aoti", self._weights_at(model_so_path))

    def _weights_at(self, path: str) -> Weights:
        return Weights(folder=Path(path).parent, file=Path(path), device=str(self.device))

    @timed
    def preprocess(self, data: Any) -> Any:
        """Make one tensor of all rows: of their `data` or `body` where they are mappings."""
        rows = [_payload(row) for row in data] if isinstance(data, list) else data
        return torch.as_tensor(rows, device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Run the model, without gradients."""
        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """Give a plain list."""
        return data.tolist()

    def handle(self, data: Any, context: Any) -> Any:
        """Answer a batch: all stages, or an explanation, or a description."""
        started = time.perf_counter()
        self.context = context
        if self._is_describe():
            items = [self.describe_handle()]
        elif os.environ.get("ENABLE_TORCH_PROFILER", "").lower() not in _OFF:
            items, _ = self._infer_with_profiler(data=data)
        else:
            items = self._run(data)
        took_ms = round((time.perf_counter() - started) * 1000, 2)
        context.metrics.add_time("HandlerTime", took_ms, None, "ms")
        return items

    def _run(self, data: Any) -> Any:
        ready = self.preprocess(data)
        if self._is_explain():
            return self.explain_handle(ready, data)
        return self.postprocess(self.inference(ready))

    def _infer_with_profiler(self, data: Any) -> tuple[Any, Any]:
        """Run it under torch's profiler; the trace lies in a folder with the model's name."""
        from torch.profiler import (  # noqa: PLC0415 - seldom
            ProfilerActivity,
            profile,
            tensorboard_trace_handler,
        )

        folder = Path(_PROFILES) / str(self.context.model_name)
        arguments = {
            "activities": [ProfilerActivity.CPU],
            "on_trace_ready": tensorboard_trace_handler(str(folder)),
            "record_shapes": True,
            **self.profiler_args,
        }
        with profile(**arguments) as profiler:
            items = self._run(data)
        return items, profiler

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain the first row, with `get_insights`, for its `target` (0 where it names none)."""
        row = raw_data[0]
        inputs = row.get("data") or row.get("body")
        target = row.get("target")
        self.target = 0 if not target else int(target)
        get_insights = getattr(self, "get_insights", None)
        if get_insights is None:
            message = f"{type(self).__name__} cannot explain: it has no method get_insights."
            raise NotImplementedError(message)
        return get_insights(data_preprocess, inputs, self.target)

    def describe_handle(self) -> Any:
        """Say something of the model; nothing, unless a handler does."""
        return None

    def _is_explain(self) -> bool:
        return self._asks("explain")

    def _is_describe(self) -> bool:
        return self._asks("describe")

    def _asks(self, header: str) -> bool:
        return bool(self.context and self.context.get_request_header(0, header) == "True")


def _payload(row: Any) -> Any:
    if not isinstance(row, Mapping):
        return row
    found = row.get("data")
    return row.get("body") if found is None else found
