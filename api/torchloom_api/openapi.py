"""The OpenAPI 3.1 document: Litestar's own, and a path for every workflow and model that serves.

Knows how the document is made, not where it is shown.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Final, cast

from torchloom.signature import Signature
from torchloom_api.input import to_object_schema
from torchloom_api.kserve import document as kserve
from torchloom_api.openai.document import complete_operation, component_schemas
from torchloom_api.openapi_part import BACKGROUND, BODIES, EVENTS, HEADERS, PROBLEM, TIMINGS, Json
from torchloom_api.service import Service


#: Calls that ask for no key.
_OPEN: Final = ("isLive", "isStarted", "isReady", "describeServer", "isLiveV2", "isReadyV2")


def describe(base: Mapping[str, object], service: Service, *, is_known: bool = True) -> Json:
    """Lay the paths of what serves at present over Litestar's document.

    Who asks without a key, where one is needed (not `is_known`), learns the API and no names.
    """
    document = copy.deepcopy(dict(base))
    paths = cast("dict[str, Json]", document["paths"])
    for item in paths.values():
        for operation in item.values():
            _complete(cast("Json", operation))
            complete_operation(cast("Json", operation))
            kserve.complete_operation(cast("Json", operation))
    components = cast("dict[str, Json]", document.setdefault("components", {}))
    schemas = components.setdefault("schemas", {})
    schemas.update({**component_schemas(), **kserve.component_schemas()})
    if not service.keys.is_empty:
        components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        document["security"] = [{"key": []}]
    if is_known:
        paths.update(_workflow_paths(service))
        paths.update(_model_paths(service))
    return document


def _complete(operation: Json) -> None:
    """Add what Litestar cannot see: bodies that are read by hand, and problem documents."""
    name = str(operation.get("operationId"))
    if name in BODIES:
        operation["requestBody"] = BODIES[name]
    if name in _OPEN:
        operation["security"] = []
    responses = cast("Json", operation["responses"])
    responses.pop("400", None)
    responses["default"] = PROBLEM
    if name in ("runWorkflow", "predictWithModel", "followRun"):
        content = {"application/json": {"schema": {"type": "object"}}}
        streamed = {"text/event-stream": EVENTS}
        is_stream = name == "followRun"
        responses["200"] = {
            "description": "Events" if is_stream else "Outputs",
            "content": streamed if is_stream else {**content, **streamed},
        }
    if name in ("runWorkflow", "predictWithModel"):
        parameters = cast("list[Json]", operation.setdefault("parameters", []))
        parameters += [*HEADERS, *([BACKGROUND] if name == "runWorkflow" else [])]
    if name == "runWorkflow":
        responses["202"] = {"description": "It goes on in the background."}
    if name in ("addWorkflow", "putWorkflow", "addModel"):
        made = cast("Json", responses.get("201") or responses["200"])
        responses["201"] = {**made, "description": "It is new, and serves"}
        responses["200"] = {**made, "description": "It was there already"}


def _workflow_paths(service: Service) -> dict[str, Json]:
    graphs = service.orchestrator.workflows()
    paths: dict[str, Json] = {}
    for graph in graphs:
        is_latest = graph is service.orchestrator.workflow(graph.name)
        label = graph.name if is_latest else graph.label
        answer: Json = {
            "type": "object",
            "properties": {
                "run": {"type": "string"},
                "workflow": {"const": graph.name},
                "version": {"type": "integer"},
                "outputs": _outputs_schema(graph.signature),
                "timings": TIMINGS,
            },
            "required": ["run", "workflow", "version", "outputs", "timings"],
        }
        operation = _operation(f"run_{label}", graph.description or f"Run {label}.", answer)
        operation["tags"] = [f"workflow {graph.name}"]
        operation["parameters"] = [*HEADERS, BACKGROUND]
        operation["requestBody"] = _body(_inputs_schema(graph.signature), has_form=True)
        responses = cast("Json", operation["responses"])
        responses["202"] = {"description": "It goes on in the background."}
        paths[f"/api/workflows/{label}/runs"] = {"post": operation}
    return paths


def _model_paths(service: Service) -> dict[str, Json]:
    paths: dict[str, Json] = {}
    for status in service.orchestrator.models():
        deployment, signature = status.deployment, status.deployment.signature
        newest = service.orchestrator.model(deployment.name).deployment.version
        label = deployment.name if deployment.version == newest else deployment.label
        params = to_object_schema(signature.params, frozenset(), is_open=signature.is_open)
        body = {
            "type": "object",
            "properties": {"inputs": _inputs_schema(signature), "params": params},
            "required": ["inputs"],
            "additionalProperties": False,
        }
        answer: Json = {
            "type": "object",
            "properties": {
                "model": {"const": deployment.name},
                "version": {"type": "integer"},
                "outputs": _outputs_schema(signature),
            },
            "required": ["model", "version", "outputs"],
        }
        operation = _operation(f"predict_{label}", f"Ask {deployment.kind} {label}.", answer)
        operation["tags"] = [f"model {deployment.name}"]
        operation["parameters"] = HEADERS
        operation["requestBody"] = _body(body, has_form=False)
        paths[f"/api/models/{label}/predict"] = {"post": operation}
    return paths


def _operation(name: str, summary: str, answer: Json) -> Json:
    ok = {
        "description": "Outputs, or events for a client that accepts text/event-stream.",
        "content": {"application/json": {"schema": answer}, "text/event-stream": EVENTS},
    }
    return {
        "operationId": name,
        "summary": summary,
        "responses": {"200": ok, "default": PROBLEM},
    }


def _body(schema: Json, *, has_form: bool) -> Json:
    content: Json = {"application/json": {"schema": schema}}
    if has_form:
        content["multipart/form-data"] = {"schema": schema}
    return {"required": True, "content": content}


def _inputs_schema(signature: Signature) -> Json:
    schema = to_object_schema(signature.inputs, signature.required, is_open=signature.is_open)
    choices = [
        {"oneOf": [{"required": [name]} for name in sorted(group)]} for group in signature.one_of
    ]
    return {**schema, "allOf": choices} if choices else schema


def _outputs_schema(signature: Signature) -> Json:
    return {"type": "object", "properties": dict(signature.outputs)}
