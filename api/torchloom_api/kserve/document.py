"""What the OpenAPI document says of KServe's calls, whose bodies are read by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

import msgspec

from torchloom_api.kserve.error import ErrorAnswer
from torchloom_api.kserve.infer_answer import InferAnswer
from torchloom_api.kserve.infer_body import InferBody
from torchloom_api.kserve.predict_call import PredictBody, Predictions
from torchloom_api.openapi_part import HEADERS, Json


#: Request and answer, by the operation's id.
_CALLS: Final[Mapping[str, tuple[type, type]]] = {
    "inferV2": (InferBody, InferAnswer),
    "inferVersionV2": (InferBody, InferAnswer),
    "predictV1": (PredictBody, Predictions),
}

#: Calls whose errors alone are told here.
_READS: Final = (
    *("listModelsV2", "describeModelV2", "describeVersionV2"),
    *("isModelReadyV2", "isVersionReadyV2"),
)

_TYPES: Final = [ErrorAnswer, *(t for call in _CALLS.values() for t in call)]

_ROOT: Final = "#/components/schemas/{name}"


def complete_operation(operation: Json) -> None:
    """Add body, answers and errors to one of these operations; leave others as they are."""
    name = str(operation.get("operationId"))
    call = _CALLS.get(name)
    if call is None and name not in _READS:
        return
    responses = cast("Json", operation["responses"])
    responses["default"] = {"description": "What went wrong.", "content": _content(ErrorAnswer)}
    if call is not None:
        request, answer = call
        responses["200"] = {"description": "The answer", "content": _content(answer)}
        operation["requestBody"] = {"required": True, "content": _content(request)}
        operation["parameters"] = [*cast("list[Json]", operation["parameters"]), *HEADERS]


def component_schemas() -> Json:
    """Give the schemas that those refer to, by name."""
    _, components = msgspec.json.schema_components(
        _TYPES, ref_template=_ROOT, schema_hook=_to_schema
    )
    return dict(components)


def _to_schema(kind: type) -> Json:
    """Describe what is checked by hand."""
    if kind is object:
        return {"description": "Checked when it is read."}
    raise NotImplementedError


def _content(kind: type) -> Json:
    return {"application/json": {"schema": {"$ref": _ROOT.format(name=kind.__name__)}}}
