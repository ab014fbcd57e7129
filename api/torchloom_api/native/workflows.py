"""Routes of workflows: check, register, describe, picture, split traffic, remove, run."""

from __future__ import annotations

from litestar import MediaType, Response, delete, get, post, put
from litestar.types import ASGIApp

from torchloom.errors import UnknownWorkflow
from torchloom.graph import Graph
from torchloom_api.body import read_document
from torchloom_api.call import run_workflow
from torchloom_api.failed import Failed
from torchloom_api.label import split_label
from torchloom_api.native.access import INFERENCE, MANAGEMENT, READING
from torchloom_api.native.request import (
    After,
    AnyRequest,
    Limit,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)
from torchloom_api.native.traffic import TrafficView, read_traffic
from torchloom_api.native.view import WorkflowView
from torchloom_api.page import Page, paginate
from torchloom_api.service import Service
from torchloom_workflows.picture import to_mermaid, to_svg


@post("/workflows:check", status_code=200, opt=MANAGEMENT, operation_id="checkWorkflow")
async def check_workflow(request: AnyRequest, service: ServiceParam) -> WorkflowView:
    """Make all checks of a registration, and register nothing."""
    text = await read_document(to_exchange(request), service.settings.body_limit)
    return WorkflowView.of(service.registrar.check_workflow(text).graph, 0.0)


@post("/workflows", opt=MANAGEMENT, operation_id="addWorkflow")
async def add_workflow(request: AnyRequest, service: ServiceParam) -> Response[WorkflowView]:
    """Register a workflow. 201 where it is new, 200 where it was there already."""
    return await _add(request, service, None)


@put("/workflows/{label:str}", opt=MANAGEMENT, operation_id="putWorkflow")
async def put_workflow(
    label: PathText, request: AnyRequest, service: ServiceParam
) -> Response[WorkflowView]:
    """Register a version of the workflow that the address names."""
    return await _add(request, service, label)


@get("/workflows", opt=READING, operation_id="listWorkflows")
async def list_workflows(
    service: ServiceParam, limit: Limit = 100, after: After = None
) -> Page[WorkflowView]:
    """List every version of every workflow, by name and version."""
    graphs: list[Graph | Failed] = list(service.orchestrator.workflows())
    graphs += service.registrar.failed.of_kind("workflows")
    return paginate(
        graphs, key=_key, show=lambda graph: _show(service, graph), limit=limit, after=after
    )


@get("/workflows/{label:str}", opt=READING, operation_id="getWorkflow")
async def get_workflow(label: PathText, service: ServiceParam) -> WorkflowView:
    """Describe a workflow, or one version of it (`name@version`)."""
    return _show(service, _find(service, label))


@get(
    "/workflows/{label:str}/graph.svg",
    media_type="image/svg+xml",
    opt=READING,
    operation_id="getWorkflowSvg",
)
async def get_svg(label: PathText, service: ServiceParam) -> str:
    """Draw a workflow's graph as SVG."""
    return to_svg(service.orchestrator.workflow(*split_label(label)))


@get(
    "/workflows/{label:str}/graph.mmd",
    media_type=MediaType.TEXT,
    opt=READING,
    operation_id="getWorkflowMermaid",
)
async def get_mermaid(label: PathText, service: ServiceParam) -> str:
    """Write a workflow's graph in Mermaid."""
    return to_mermaid(service.orchestrator.workflow(*split_label(label)))


@put("/workflows/{label:str}/traffic", opt=MANAGEMENT, operation_id="splitWorkflowTraffic")
async def split_traffic(label: PathText, request: AnyRequest, service: ServiceParam) -> TrafficView:
    """Split a workflow's runs by weight, and give a shadow version copies of some."""
    traffic = await read_traffic(service, to_exchange(request))
    service.registrar.set_traffic("workflows", label, *traffic)
    return TrafficView.of(label, *traffic)


@delete("/workflows/{label:str}", opt=MANAGEMENT, operation_id="removeWorkflow")
async def remove_workflow(label: PathText, service: ServiceParam) -> None:
    """Drain a workflow, or one version of it, then remove it."""
    name, version = split_label(label)
    await service.registrar.remove_workflow(name, version, grace_s=service.settings.grace_s)


@post("/workflows/{label:str}/runs", status_code=200, opt=INFERENCE, operation_id="runWorkflow")
async def start_run(label: PathText, request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Run a workflow: wait for its outputs, stream its events, or leave it in the background."""
    exchange = to_exchange(request)
    return answer_by(exchange, run_workflow(service, exchange, label))


async def _add(request: AnyRequest, service: Service, label: str | None) -> Response[WorkflowView]:
    text = await read_document(to_exchange(request), service.settings.body_limit)
    graph, is_new = await service.registrar.add_workflow(text, label=label)
    place = {"Location": f"/api/workflows/{graph.label}"}
    return Response(_show(service, graph), status_code=201 if is_new else 200, headers=place)


def _find(service: Service, label: str) -> Graph | Failed:
    name, version = split_label(label)
    try:
        return service.orchestrator.workflow(name, version)
    except UnknownWorkflow:
        failed = service.registrar.failed.find("workflows", name, version)
        if failed is None:
            raise
        return failed


def _show(service: Service, graph: Graph | Failed) -> WorkflowView:
    if isinstance(graph, Failed):
        return WorkflowView.of_failed(graph)
    weight = service.orchestrator.workflow_weight(graph.name, graph.version)
    copies = service.orchestrator.workflow_copies(graph.name, graph.version)
    return WorkflowView.of(graph, weight, copies)


def _key(graph: Graph | Failed) -> str:
    return f"{graph.name}@{graph.version}"


#: Every route of this page.
ROUTES = (
    check_workflow,
    add_workflow,
    put_workflow,
    list_workflows,
    get_workflow,
    get_svg,
    get_mermaid,
    split_traffic,
    remove_workflow,
    start_run,
)
