"""Where the OpenAPI document is shown: as JSON, as YAML, and by Swagger UI.

Swagger UI's files are of this installation: nothing is loaded from elsewhere.
"""

from __future__ import annotations

from importlib.metadata import version
from typing import Final

import msgspec
from litestar.openapi.config import OpenAPIConfig
from litestar.openapi.plugins import OpenAPIRenderPlugin
from litestar.router import Router
from litestar.static_files import create_static_files_router
from openapi_ui_bundles import swagger_ui

from torchloom_api.native.access import READING, SCOPES
from torchloom_api.native.request import AnyRequest, to_exchange
from torchloom_api.openapi import describe
from torchloom_api.service import Service


#: Where the documents stand.
PATH: Final = "/api/docs"

_PAGE: Final = f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<title>TorchLoom API</title>
<link rel="stylesheet" href="{PATH}/assets/swagger-ui.css">
<link rel="icon" href="{PATH}/assets/favicon-32x32.png">
</head>
<body>
<div id="api"></div>
<script src="{PATH}/assets/swagger-ui-bundle.js"></script>
<script>SwaggerUIBundle({{url: "{PATH}/openapi.json", dom_id: "#api", deepLinking: true}})</script>
</body>
</html>
"""


class _LiveJson(OpenAPIRenderPlugin):
    """The document as JSON, as things stand when it is asked for."""

    def __init__(self, service: Service) -> None:
        super().__init__(path="/openapi.json", media_type="application/json")  # type: ignore[arg-type]  # any media type does
        self._service = service

    def render(self, request: AnyRequest, openapi_schema: dict[str, object]) -> bytes:
        is_known = _is_known(request, self._service)
        return msgspec.json.encode(describe(openapi_schema, self._service, is_known=is_known))


class _LiveYaml(OpenAPIRenderPlugin):
    """The same as YAML."""

    def __init__(self, service: Service) -> None:
        super().__init__(path=["/openapi.yaml", "/openapi.yml"], media_type="application/yaml")  # type: ignore[arg-type]  # any media type does
        self._service = service

    def render(self, request: AnyRequest, openapi_schema: dict[str, object]) -> bytes:
        is_known = _is_known(request, self._service)
        return msgspec.yaml.encode(describe(openapi_schema, self._service, is_known=is_known))


class _DocumentPage(OpenAPIRenderPlugin):
    """The page that renders it."""

    def __init__(self) -> None:
        super().__init__(path="/")

    def render(self, request: AnyRequest, openapi_schema: dict[str, object]) -> bytes:  # noqa: ARG002
        return _PAGE.encode()


def _is_known(request: AnyRequest, service: Service) -> bool:
    """Tell whether a request may learn what is registered."""
    return service.keys.allows(to_exchange(request).headers, READING[SCOPES])


def create_openapi_config(service: Service) -> OpenAPIConfig:
    """Make Litestar's configuration of the documents."""
    return OpenAPIConfig(
        title="TorchLoom",
        version=version("torchloom"),
        description="Models and workflows, served from YAML.",
        path=PATH,
        render_plugins=[_DocumentPage(), _LiveJson(service), _LiveYaml(service)],
    )


def create_assets_router() -> Router:
    """Make the routes of Swagger UI's own files."""
    return create_static_files_router(
        path=f"{PATH}/assets",
        directories=[swagger_ui.static_path],
        include_in_schema=False,
    )
