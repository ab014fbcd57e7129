"""OpenAPI documents of TorchServe's ports and of single models, for `OPTIONS`. Written by hand.

Titles, paths, operation ids and parameters are TorchServe's, for clients are generated from them:
also ids that stand at several paths, and paths that it leaves out. The words are ours.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final


Document = dict[str, object]

_VERSION: Final = "0.12.0"

_ERROR: Final[Document] = {
    "type": "object",
    "required": ["code", "type", "message"],
    "properties": {
        "code": {"type": "integer", "description": "Error code."},
        "type": {"type": "string", "description": "Error type."},
        "message": {"type": "string", "description": "Error message."},
    },
}

_STATUS: Final[Document] = {
    "type": "object",
    "required": ["status"],
    "properties": {"status": {"type": "string", "description": "Error type."}},
}

_TEXTS: Final[Mapping[str, str]] = {
    "400": "Bad request: a parameter is missing, or has a value that it cannot have",
    "403": "The version cannot be removed, for it is the default one",
    "404": "The model or its version is not there",
    "408": "It was not done in time",
    "409": "The model is registered already",
    "500": "The server or the model's code has failed",
    "503": "There is no worker for the model",
    "507": "There is no memory for the model",
}

_MODEL: Final = "model_name"
_MODEL_VERSION: Final = "model_version"


def _json(schema: Document) -> Document:
    return {"application/json": {"schema": schema}}


def _responses(ok: Mapping[str, Document], failures: Sequence[str]) -> Document:
    failed = {code: {"description": _TEXTS[code], "content": _json(_ERROR)} for code in failures}
    return {**ok, **failed}


def _ok(description: str, schema: Document | None = None) -> Document:
    return {"description": description, "content": _json(schema or _STATUS)}


def _any_answer(description: str) -> Document:
    media = {"schema": {"type": "string", "format": "binary"}}
    return {"description": description, "content": {"*/*": media}}


def _path_parameter(name: str) -> Document:
    return {"in": "path", "name": name, "required": True, "schema": {"type": "string"}}


def _query(
    name: str, kind: str, text: str, *, default: str | None = None, required: bool = False
) -> Document:
    schema: Document = {"type": kind}
    if default is not None:
        schema["default"] = default
    return {
        "in": "query",
        "name": name,
        "description": text,
        "required": required,
        "schema": schema,
    }


def _operation(
    operation_id: str,
    text: str,
    responses: Document,
    parameters: Sequence[Document] = (),
    *,
    takes_body: bool = False,
    is_deprecated: bool = False,
) -> Document:
    operation: Document = {"description": text, "operationId": operation_id}
    operation["parameters"] = list(parameters)
    if is_deprecated:
        operation["deprecated"] = True
    if takes_body:
        binary = {"schema": {"type": "string", "format": "binary"}}
        operation["requestBody"] = {
            "description": "What the model's handler reads.",
            "content": {"*/*": binary},
            "required": True,
        }
    operation["responses"] = responses
    return operation


def _document(title: str, paths: Document, *, description: str = "", version: str) -> Document:
    said = {"description": description} if description else {}
    return {
        "openapi": "3.0.1",
        "info": {"title": title, **said, "version": version},
        "paths": paths,
    }


def _port_document(paths: Document, description: str) -> Document:
    return _document("TorchServe APIs", paths, description=description, version=_VERSION)


def _described_by(operation_id: str, *, is_deprecated: bool = False) -> Document:
    described = {"200": _ok("An OpenAPI document", {"type": "object"})}
    responses = _responses(described, ["500"])
    text = "Describe this API."
    return _operation(operation_id, text, responses, is_deprecated=is_deprecated)


def _last_paths() -> Document:
    """Describe what stands at the end of both ports' documents."""
    described = _described_by("api-description", is_deprecated=True)
    return {"/api-description": {"get": described}, "/metrics": {"get": _metrics()}}


def _metrics() -> Document:
    text = {"text/plain; version=0.0.4; charset=utf-8": {"schema": {"type": "string"}}}
    ok: dict[str, Document] = {
        "200": {"description": "Metrics in Prometheus' format", "content": text}
    }
    names = _query("name[]", "string", "Names of the metrics to give; all where there is none.")
    return _operation("metrics", "Give the metrics.", _responses(ok, ["500"]), [names])


def inference_document() -> Document:
    """Describe the inference port."""
    model, version = _path_parameter(_MODEL), _path_parameter(_MODEL_VERSION)
    pinged = _responses({"200": _ok("Healthy")}, ["500"])
    paths: Document = {
        "/": {"options": _described_by("apiDescription")},
        "/ping": {"get": _operation("ping", "Tell whether every model has its workers.", pinged)},
    }
    asked = _responses({"200": _any_answer("What the handler gives")}, ["404", "500", "503"])
    for path, name, parameters in (
        ("/v1/models/{model_name}:predict", "predictions", [model]),
        ("/v2/models/{model_name}/infer", "predictions", [model]),
        ("/predictions/{model_name}", "predictions", [model]),
        ("/predictions/{model_name}/{model_version}", "version_predictions", [model, version]),
    ):
        asking = _operation(name, "Ask a model.", asked, parameters, takes_body=True)
        paths[path] = {"post": asking}
    return _port_document({**paths, **_last_paths()}, "TorchServe's inference API")


def prediction_document(name: str) -> Document:
    """Describe how one model is asked."""
    asked = _responses({"200": _any_answer("What the handler gives")}, ["404", "500", "503"])
    asking = {"post": _operation(name, f"Ask {name}.", asked)}
    paths: Document = {
        f"/prediction/{name}": asking,
        "/v1/models/{model_name}:predict": asking,
        "/v2/models/{model_name}/infer": asking,
    }
    return _document(f"RESTful API for: {name}", paths, version="1.0.0")


def _registering() -> Document:
    parameters = [
        _query("url", "string", "Archive in the model store, or where it is.", required=True),
        _query(_MODEL, "string", "Name of the model; the archive's where it is not given."),
        _query("handler", "string", "Handler in place of the archive's."),
        _query("runtime", "string", "Runtime of the handler."),
        _query("batch_size", "integer", "The most rows of a batch.", default="1"),
        _query("max_batch_delay", "integer", "Milliseconds to wait for a batch.", default="100"),
        _query("response_timeout", "integer", "Seconds for an answer.", default="120"),
        _query("startup_timeout", "integer", "Seconds for a worker to load.", default="120"),
        _query("initial_workers", "integer", "Workers to start.", default="0"),
        _query("synchronous", "boolean", "Answer when the workers are there.", default="true"),
        _query("s3_sse_kms", "boolean", "The archive is encrypted in S3.", default="false"),
    ]
    ok = {"200": _ok("It is registered"), "202": _ok("Its workers are being started")}
    responses = _responses(ok, ["400", "404", "409", "500", "507"])
    return _operation("registerModel", "Register a model.", responses, parameters)


def _listing() -> Document:
    parameters = [
        _query("limit", "integer", "The most models to list.", default="100"),
        _query("next_page_token", "string", "`nextPageToken` of the page before."),
    ]
    model: Document = {
        "type": "object",
        "properties": {"modelName": {"type": "string"}, "modelUrl": {"type": "string"}},
    }
    schema: Document = {
        "type": "object",
        "required": ["models"],
        "properties": {
            "nextPageToken": {"type": "string"},
            "models": {"type": "array", "items": model},
        },
    }
    responses = _responses({"200": _ok("Models by name", schema)}, ["500"])
    return _operation("listModels", "List the models.", responses, parameters)


def _model_operations(parameters: Sequence[Document], prefix: str = "") -> Document:
    """Describe what can be done to a model, or to one version of it."""
    timeout = _query("timeout", "integer", "Not used.", default="-1")
    scaling = [
        _query("min_worker", "integer", "The least workers.", default="1"),
        _query("max_worker", "integer", "The most workers; as many as the least if not given."),
        _query("number_gpu", "integer", "Not used.", default="0"),
        _query("synchronous", "boolean", "Answer when it is done.", default="false"),
        timeout,
    ]
    scaled = {
        "200": _ok("It has its workers"),
        "202": _ok("Workers are being started or ended"),
        "206": _ok("Not all workers are there yet"),
    }
    described = {"200": _ok("The versions", {"type": "array", "items": {"type": "object"}})}
    return {
        "get": _operation(
            f"{prefix}describeModel",
            "Describe a model.",
            _responses(described, ["404", "500"]),
            parameters,
        ),
        "put": _operation(
            f"{prefix}setAutoScale",
            "Set the number of workers.",
            _responses(scaled, ["400", "404", "500"]),
            [*parameters, *scaling],
        ),
        "delete": _operation(
            f"{prefix}unregisterModel",
            "Remove a model.",
            _responses({"200": _ok("It is removed")}, ["403", "404", "408", "500"]),
            [*parameters, _query("synchronous", "boolean", "Not used."), timeout],
        ),
    }


def _model_paths() -> Document:
    model, version = _path_parameter(_MODEL), _path_parameter(_MODEL_VERSION)
    default = _operation(
        "setDefault",
        "Let requests that name no version go to this one.",
        _responses({"200": _ok("It is the default")}, ["404", "500"]),
        [model, version],
    )
    return {
        "/models/{model_name}": _model_operations([model]),
        "/models/{model_name}/{model_version}": _model_operations([model, version], "version_"),
        "/models/{model_name}/{model_version}/set-default": {"put": default},
    }


def management_document() -> Document:
    """Describe the management port."""
    paths: Document = {
        "/": {"options": _described_by("apiDescription")},
        "/models": {"get": _listing(), "post": _registering()},
    }
    paths |= {**_model_paths(), **_last_paths()}
    return _port_document(paths, "TorchServe's management API")


def management_model_document(name: str) -> Document:
    """Describe how one model is managed."""
    return _document(f"RESTful Management API for: {name}", _model_paths(), version=_VERSION)


def metrics_document() -> Document:
    """Describe the metrics port."""
    return _port_document({"/metrics": {"get": _metrics()}}, "TorchServe's metrics API")
