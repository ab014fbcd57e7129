"""`ts.service`: a handler with its context, for scripts that call one without a server."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from torchloom.errors import HandlerFailed
from torchloom_models.archive.context import Context, RequestProcessor
from torchloom_models.archive.engine import check_items
from torchloom_models.archive.failure import tell_raised, to_failure
from torchloom_models.archive.ts import __version__
from torchloom_models.archive.ts.protocol.otf_message_handler import create_predict_response
from torchloom_models.archive.ts.utils.util import get_yaml_config


#: The metric of how long a call of the handler took.
PREDICTION_METRIC: Final = "PredictionTime"

_log = logging.getLogger(__name__)

#: What a handler finds of a batch: headers, rows, and ids by place.
_Rows = tuple[list[RequestProcessor], list[dict[str, Any]], dict[int, str]]


class Service:
    """An entry point, called with requests as TorchServe's workers are sent them."""

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: Mapping[str, Any] | None,
        entry_point: Any,
        gpu: int | None,
        batch_size: int | None,
        limit_max_image_pixels: bool = True,  # noqa: FBT001, FBT002 - TorchServe's own face
        metrics_cache: object = None,
    ) -> None:
        config = (manifest or {}).get("model", {}).get("configFile")
        self._entry_point = entry_point
        self._context = Context(
            model_name,
            model_dir,
            manifest or {},
            batch_size or 1,
            gpu,
            __version__,
            limit_max_image_pixels,
            metrics_cache,
            get_yaml_config(Path(model_dir) / config) if config else {},
        )

    @property
    def context(self) -> Context:
        """Give what the handler is told."""
        return self._context

    def take(self, entry_point: Any) -> None:
        """Call this from now on."""
        self._entry_point = entry_point

    def set_cl_socket(self, cl_socket: object) -> None:
        """Take a connection, which handlers find in their context."""
        self._context.cl_socket = cl_socket

    @staticmethod
    def retrieve_data_for_inference(batch: Sequence[Mapping[str, Any]] | None) -> _Rows:
        """Take requests apart. Raises ValueError for none.

        Each has `requestId` (bytes), `parameters` (`name`, `value`, `contentType`) and perhaps
        `headers` (`name` and `value`, bytes).
        """
        if batch is None:
            raise ValueError("Received invalid inputs")
        processors, rows, ids = [], [], {}
        for place, request in enumerate(batch):
            parameters = request["parameters"]
            rows.append({each["name"]: each["value"] for each in parameters})
            headers: dict[str, Any] = {
                each["name"]: {"content-type": each["contentType"]} for each in parameters
            }
            for header in request.get("headers") or ():
                headers[header["name"].decode()] = header["value"].decode()
            processors.append(RequestProcessor(headers))
            ids[place] = request["requestId"].decode()
        return processors, rows, ids

    def predict(self, batch: Sequence[Mapping[str, Any]]) -> bytearray:
        """Call the handler; give what a worker of TorchServe would send for it."""
        context = self._context
        processors, rows, ids = self.retrieve_data_for_inference(batch)
        context.request_processor, context.request_ids = processors, ids
        metrics: Any = context.metrics
        metrics.request_ids = ids
        began = time.perf_counter()
        try:
            items = check_items(self._call(rows), len(rows))
        except HandlerFailed as error:
            return create_predict_response(None, ids, error.message, error.status)
        took_ms = (time.perf_counter() - began) * 1000
        metrics.add_time(PREDICTION_METRIC, round(took_ms, 2))
        return create_predict_response(items, ids, "Prediction success", 200, context=context)

    def _call(self, rows: list[dict[str, Any]]) -> object:
        try:
            return self._entry_point(rows, self._context)
        except Exception as error:
            tell_raised(error)
            raise to_failure(error) from error


def emit_metrics(metrics: Iterable[object]) -> None:
    """Write metrics to the log."""
    for metric in metrics:
        _log.info("[METRICS]%s", metric)


__all__ = ["PREDICTION_METRIC", "Service", "emit_metrics"]
