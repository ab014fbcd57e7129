"""Routes of workflows: `/workflows` on the management port, `/wfpredict` on the inference port."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial

from torchloom_api.torchserve.answer import Answer, json_answer, status_answer
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import method_not_allowed
from torchloom_api.torchserve.listing import to_page
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.route import Answering
from torchloom_api.torchserve.workflow.prediction import predict
from torchloom_api.torchserve.workflow.registration import WorkflowOrder


def find_management(method: str, segments: tuple[str, ...]) -> tuple[str, Answering] | None:
    """Give pattern and answer of a path of the management port, or None. Versions are let be."""
    match segments:
        case ("workflows",):
            return "/workflows", {"GET": _list, "POST": _register}.get(method, _refuse)
        case ("workflows", name) | ("workflows", name, _):
            actions: Mapping[str, Answering] = {
                "GET": partial(_describe, name=name),
                "DELETE": partial(_unregister, name=name),
            }
            return "/workflows/{workflow}", actions.get(method, _refuse)
    return None


def find_prediction(segments: tuple[str, ...]) -> tuple[str, Answering] | None:
    """Give pattern and answer of a path that runs a workflow; what follows its name is let be."""
    match segments:
        case ("wfpredict", name, *_):
            return "/wfpredict/{workflow}", partial(predict, name=name)
    return None


async def _refuse(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    raise method_not_allowed()


async def _list(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """List the workflows, a page at a time."""
    shown = [
        {"workflowName": each.name, "workflowUrl": each.url}
        for each in frontend.workflows.table.served()
    ]
    return json_answer(to_page(Parameters.of(request), "workflows", shown))


async def _register(frontend: Frontend, request: Request, reply: Reply) -> Answer:  # noqa: ARG001 - the routes' face
    """Register an archive."""
    order = WorkflowOrder.of(Parameters.of_registration(request))
    served = await frontend.workflows.register(order)
    return status_answer(f"Workflow {served.name} has been registered and scaled successfully.")


async def _describe(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    """Describe one; its dag is written as Java writes maps."""
    served, _ = frontend.workflows.table.find(name)
    specification = served.specification
    dag = ", ".join(f"{node}=[{', '.join(after)}]" for node, after in specification.dag.items())
    document = {
        "workflowName": served.name,
        "workflowUrl": served.url,
        "minWorkers": specification.settings["min-workers"],
        "maxWorkers": specification.settings["max-workers"],
        "batchSize": specification.settings["batch-size"],
        "maxBatchDelay": specification.settings["max-batch-delay"],
        "workflowDag": f"{{{dag}}}",
    }
    return json_answer([document])


async def _unregister(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:  # noqa: ARG001 - the routes' face
    """Remove one, and its models."""
    await frontend.workflows.unregister(name)
    return status_answer(f'Workflow "{name}" unregistered')
