"""Routes of runs: history, state, events, cancel."""

from __future__ import annotations

from typing import Annotated, Literal

from litestar import delete, get
from litestar.params import QueryParameter
from litestar.types import ASGIApp

from torchloom_api.call import follow_run
from torchloom_api.errors import BadRequest
from torchloom_api.exchange import Exchange
from torchloom_api.native.access import INFERENCE, READING
from torchloom_api.native.request import (
    After,
    AnyRequest,
    Limit,
    PathText,
    ServiceParam,
    answer_by,
    to_exchange,
)
from torchloom_api.native.view import RunView
from torchloom_api.page import Page, paginate


#: No event's id has more digits.
_MAX_DIGITS = 18

State = Literal["running", "done", "failed", "cancelled"]


@get("/runs", opt=READING, operation_id="listRuns")
async def list_runs(
    service: ServiceParam,
    limit: Limit = 100,
    after: After = None,
    workflow: Annotated[str | None, QueryParameter(max_length=128)] = None,
    run_state: Annotated[State | None, QueryParameter(name="state")] = None,
) -> Page[RunView]:
    """List the runs that the history holds, the newest first."""
    runs = [
        run
        for run in service.orchestrator.runs()
        if workflow in (None, run.graph.name) and run_state in (None, run.state.value)
    ]
    return paginate(
        runs,
        key=lambda run: run.id,
        show=lambda run: RunView.of(run, is_whole=False),
        limit=limit,
        after=after,
    )


@get("/runs/{run_id:str}", opt=READING, operation_id="getRun")
async def get_run(run_id: PathText, service: ServiceParam) -> RunView:
    """Tell how far a run is, and its outputs or error once it is over."""
    return RunView.of(service.orchestrator.run(run_id))


@get("/runs/{run_id:str}/events", opt=READING, operation_id="followRun")
async def get_events(run_id: PathText, request: AnyRequest, service: ServiceParam) -> ASGIApp:
    """Follow a run's events from its start, or from behind `Last-Event-ID`."""
    exchange = to_exchange(request)
    run = service.orchestrator.run(run_id)
    after = _read_last_id(exchange)
    return answer_by(exchange, follow_run(service, exchange, run, after))


@delete("/runs/{run_id:str}", status_code=200, opt=INFERENCE, operation_id="cancelRun")
async def cancel_run(run_id: PathText, service: ServiceParam) -> RunView:
    """Cancel a run, down to its engines' next steps. One that is over stays as it is."""
    run = service.orchestrator.run(run_id)
    run.cancel()
    await run.wait()
    return RunView.of(run)


def _read_last_id(exchange: Exchange) -> int:
    given = exchange.headers.get(b"last-event-id", b"0")
    if not (given.isdigit() and len(given) <= _MAX_DIGITS):
        raise BadRequest("Last-Event-ID must be the id of an event: a whole number.")
    return int(given)


#: Every route of this page.
ROUTES = (list_runs, get_run, get_events, cancel_run)
