"""The application: puts routes and documents together over a Service. Opens no socket."""

from __future__ import annotations

from litestar import Litestar, Request, Response, Router
from litestar.datastructures import State
from litestar.di import Provide
from litestar.exceptions import HTTPException, NotFoundException

from torchloom.errors import nearest
from torchloom_api.document_page import create_assets_router, create_openapi_config
from torchloom_api.exchange import GONE, ClientGone
from torchloom_api.kserve import routes as kserve
from torchloom_api.kserve.predict_routes import post_verb
from torchloom_api.native import adapters, devices, health, models, runs, workflows
from torchloom_api.native.access import guard_route
from torchloom_api.native.request import to_exchange
from torchloom_api.openai import routes as openai
from torchloom_api.refusal import to_refusal
from torchloom_api.service import Service


def create_app(service: Service) -> Litestar:
    """Make the Litestar application: every route and the documents. `Edge` goes in front."""
    api = Router(
        "/api",
        route_handlers=[
            *workflows.ROUTES,
            *models.ROUTES,
            *adapters.ROUTES,
            *runs.ROUTES,
            *devices.ROUTES,
            *health.ROUTES,
        ],
    )
    v1 = Router("/v1", route_handlers=[*openai.ROUTES, post_verb])
    v2 = Router("/v2", route_handlers=kserve.ROUTES)
    return Litestar(
        route_handlers=[api, v1, v2, health.get_metrics, create_assets_router()],
        dependencies={"service": Provide(lambda: service, sync_to_thread=False)},
        guards=[guard_route],
        exception_handlers={Exception: _to_response},
        openapi_config=create_openapi_config(service),
        logging_config=None,
        request_max_body_size=None,
    )


def _to_response(request: Request[object, object, State], error: Exception) -> Response[bytes]:
    """Answer in the shape of the API that was asked, as Edge does for what passes Litestar by."""
    if isinstance(error, ClientGone):
        return Response(b"", status_code=GONE)
    path = request.scope["path"]
    if isinstance(error, NotFoundException):
        known = {route.path for route in request.app.routes if "{" not in route.path}
        error = NotFoundException(detail=f"There is no route {path!r}.{nearest(path, known)}")
    refusal = to_refusal(error, to_exchange(request))
    allowed = error.headers if isinstance(error, HTTPException) else None
    headers = {name.decode(): value.decode() for name, value in refusal.headers}
    return Response(
        refusal.body,
        status_code=refusal.status,
        media_type=refusal.media_type.decode(),
        headers={**headers, **(allowed or {})},
    )
