"""Prediction: a request to a workflow, and the answer of its leaves. Knows no route."""

from __future__ import annotations

import asyncio
import base64
import json
import logging
from collections.abc import Mapping
from typing import cast

from torchloom.errors import Cancelled, NodeFailed, NotServing, QueueFull, TorchLoomError
from torchloom.run import Run
from torchloom.run_options import RunOptions
from torchloom_api.exchange import ClientGone
from torchloom_api.presence import Presence
from torchloom_api.torchserve.answer import JSON, Answer, to_json
from torchloom_api.torchserve.form import read_form
from torchloom_api.torchserve.frontend import Frontend, Predicted
from torchloom_api.torchserve.frontend_error import FrontendError, internal, to_frontend_error
from torchloom_api.torchserve.prediction import no_worker, too_many
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.workflow.document import BODIES
from torchloom_api.torchserve.workflow.table import ServedWorkflow


_log = logging.getLogger(__name__)


async def predict(frontend: Frontend, request: Request, reply: Reply, *, name: str) -> Answer:
    """Run a workflow on a request. Raises FrontendError."""
    served, graph = frontend.workflows.table.find(name)
    settings = frontend.settings
    form = read_form(
        request, with_query=settings.query_to_handlers, is_decoded=settings.decode_input_request
    )
    inputs = {
        "fields": form.fields,
        "headers": request.headers,
        "content_types": form.content_types,
        "request_id": request.id,
    }
    run = frontend.service.orchestrator.start_run(
        graph, graph.with_defaults(inputs), options=RunOptions(is_streamed=False)
    )
    outputs = await _finish(frontend, request, reply, served, run)
    _tell(frontend, request, served, run)
    bodies = cast("Mapping[str, bytes]", outputs[BODIES])
    body = _to_body(served, bodies)
    if len(body) > settings.max_response_size:
        raise internal(f"Error executing {served.names[served.leaves[-1]]}")
    return Answer(body=body, content_type=JSON)


async def _finish(
    frontend: Frontend, request: Request, reply: Reply, served: ServedWorkflow, run: Run
) -> Mapping[str, object]:
    """Wait for a run's outputs; a client that leaves cancels it."""
    with Presence(reply.exchange, run.cancel) as presence:
        try:
            return await run.result()
        except asyncio.CancelledError:
            run.cancel()
            raise
        except Cancelled:
            if presence.has_left:
                raise ClientGone from None
            raise
        except TorchLoomError as error:
            raise _say(frontend, request, served, error) from error


def _tell(frontend: Frontend, request: Request, served: ServedWorkflow, run: Run) -> None:
    """Tell those who watch how long each node took."""
    over = [
        Predicted(
            model=served.models[node].name,
            version=None,
            number=served.models[node].number,
            request_id=request.id,
            status=200,
            seconds=timing.finished_s - timing.started_s,
            queue_s=timing.queue_s,
            run_s=timing.run_s,
            is_of_node=True,
        )
        for node, timing in run.node_timings.items()
        if node in served.models  # others are those that the graph has for itself
    ]
    for listen in frontend.on_predicted:
        listen(over)


def _to_body(served: ServedWorkflow, bodies: Mapping[str, bytes]) -> bytes:
    """Give the one leaf's bytes; of several, JSON by the leaves' names."""
    if len(served.leaves) == 1:
        return bytes(bodies[served.leaves[0]])
    return to_json({served.names[leaf]: _read(bytes(bodies[leaf])) for leaf in served.leaves})


def _read(body: bytes) -> object:
    """Read what a leaf gave: JSON, or else text, or else base64."""
    try:
        text = body.decode()
        return json.loads(text)
    except UnicodeDecodeError:
        return base64.b64encode(body).decode()
    except (ValueError, RecursionError):
        return text


def _say(
    frontend: Frontend, request: Request, served: ServedWorkflow, error: TorchLoomError
) -> FrontendError:
    """Say which node failed; the log tells why."""
    if not isinstance(error, NodeFailed):
        return to_frontend_error(error, request.id)
    node = served.names[error.node]
    cause = error.cause
    reasons = "; ".join(fault.message for fault in cause.faults)
    _log.error(
        "request %s: node %r of workflow %s failed: %s %s",
        *(request.id, node, served.name, cause.message, reasons),
    )
    model = served.specification.model_name(node)
    if isinstance(cause, QueueFull) and frontend.settings.queue_full_429:
        return too_many(model, cause)
    if isinstance(cause, QueueFull | NotServing):
        return internal(no_worker(model, None).message)
    return internal(f"Error executing {node}")
