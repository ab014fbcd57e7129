"""Routes of health: is the process alive, has it started, should it be sent work. And metrics."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec
from litestar import Response, get

from torchloom_api.metrics import METRICS_TEXT
from torchloom_api.native.access import METRICS
from torchloom_api.native.request import ServiceParam
from torchloom_api.service import Service


class Health(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What is asked for, and whatever stands in its way, by label."""

    status: Literal["ok"]
    models: Mapping[str, str] = {}


@get("/health/live", operation_id="isLive")
async def is_live() -> Health:
    """Tell that the process answers."""
    return Health(status="ok")


@get("/health/startup", operation_id="isStarted")
async def is_started(service: ServiceParam) -> Health:
    """Tell whether everything that was registered has been loaded; 503 before that."""
    service.require_started()
    return Health(status="ok", models=_to_states(service))


@get("/health/ready", operation_id="isReady")
async def is_ready(service: ServiceParam) -> Health:
    """Tell whether work should be sent here: 503 while starting or draining, or if broken."""
    service.require_started()
    service.require_ready()
    return Health(status="ok", models=_to_states(service))


@get("/metrics", opt=METRICS, include_in_schema=False)
async def get_metrics(service: ServiceParam) -> Response[bytes]:
    """Write every metric in Prometheus' text format."""
    return Response(service.metrics.render(), media_type=METRICS_TEXT.decode())


def _to_states(service: Service) -> dict[str, str]:
    return {status.deployment.label: status.state for status in service.orchestrator.models()}


#: The routes of this page that stand under `/api`.
ROUTES = (is_live, is_started, is_ready)
