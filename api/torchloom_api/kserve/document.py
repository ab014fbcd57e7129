"""What the OpenAPI document says of KServe's calls, whose bodies are read by hand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, cast

from torchloom_api.kserve.error import ErrorAnswer
from torchloom_api.kserve.infer_answer import InferAnswer
from torchloom_api.kserve.infer_body import InferBody
from torchloom_api.kserve.predict_call import PredictBody, Predictions
from torchloom_api.openapi_part import HEADERS, Json
from torchloom_api.openapi_schema import to_content, to_schemas


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


def complete_operation(operation: Json) -> None:
    """Add body, answers and errors to one of these operations; leave others as they are."""
    name = str(operation.get("operationId"))
    call = _CALLS.get(name)
    if call is None and name not in _READS:
        return
    responses = cast("Json", operation["responses"])
    responses["default"] = {"description": "What went wrong.", "content": to_content(ErrorAnswer)}
    if call is not None:
        request, answer = call
        responses["200"] = {"description": "The answer", "content": to_content(answer)}
        operation["requestBody"] = {"required": True, "content": to_content(request)}
        operation["parameters"] = [*cast("list[Json]", operation["parameters"]), *HEADERS]


def component_schemas() -> Json:
    """Give the schemas that those refer to, by name."""
    return to_schemas(_TYPES)
