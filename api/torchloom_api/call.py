"""The two calls that do the work: run a workflow, ask a model. Raw ASGI, since they are hot.

Knows how a request becomes a run and how its outputs become an answer; knows no registration.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Final, NoReturn

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import Cancelled, InvalidInput, TorchLoomError
from torchloom.event_log import EventLog
from torchloom.run import Run
from torchloom.run_options import RunOptions
from torchloom_api.body import parse, parse_json, read_body, to_form
from torchloom_api.errors import BadRequest, Problem
from torchloom_api.exchange import ClientGone, Exchange
from torchloom_api.label import split_label
from torchloom_api.media import EVENT_STREAM, JSON, PNG, to_json, to_png
from torchloom_api.presence import Presence, while_present
from torchloom_api.service import Service
from torchloom_api.streaming import send_events


#: The highest and lowest `X-Priority`, by distance from 0.
_MAX_PRIORITY: Final = 100


async def run_workflow(service: Service, exchange: Exchange, label: str) -> None:
    """Start a run, and answer with its outputs, its events, or (in the background) its address."""
    service.require_started()
    graph = service.orchestrator.pick_workflow(*split_label(label))
    options = read_options(service, exchange, is_background=_is_background(exchange))
    values, is_form = await _read_values(service, exchange)
    check = service.checks.of(f"workflow {graph.label}", graph.signature)
    inputs = graph.with_defaults(check.check(values, is_form=is_form))
    run = service.orchestrator.start_run(graph, inputs, options=options)
    if options.is_background:
        await _answer_accepted(exchange, run)
    elif _accepts(exchange, EVENT_STREAM):
        with Presence(exchange, run.cancel, keepalive_s=service.settings.keepalive_s):
            await send_events(exchange, run.events())
    else:
        await _answer_outputs(exchange, run)


async def predict(service: Service, exchange: Exchange, label: str) -> None:
    """Ask one model, and answer with its outputs or its chunks as they come."""
    service.require_started()
    deployment = service.orchestrator.pick_model(*split_label(label))
    options = read_options(service, exchange)
    values, is_form = await _read_values(service, exchange)
    inputs, params = _split_call(values, is_form=is_form)
    check = service.checks.of(f"model {deployment.label}", deployment.signature)
    inputs = check.check(inputs, is_form=is_form)
    params = check.check_params(params) if params else {}
    if _accepts(exchange, EVENT_STREAM):
        await _stream_prediction(service, exchange, deployment, inputs, params, options)
        return
    prediction = service.orchestrator.predict(
        deployment.name, inputs, params, version=deployment.version, options=options
    )
    outputs = await while_present(exchange, prediction)
    if _accepts(exchange, PNG):
        await exchange.respond(200, to_png(outputs), PNG)
    else:
        answer = {"model": deployment.name, "version": deployment.version, "outputs": outputs}
        await exchange.respond(200, to_json(answer), JSON)


async def follow_run(service: Service, exchange: Exchange, run: Run, after: int) -> None:
    """Answer with a run's events above an id, those to come included. Leaving does not end it."""
    events = send_events(exchange, run.events(after))
    await while_present(exchange, events, keepalive_s=service.settings.keepalive_s)


def describe_run(run: Run) -> dict[str, object]:
    """Show a finished run's outputs, and how long its nodes took."""
    return {
        "run": run.id,
        "workflow": run.graph.name,
        "version": run.graph.version,
        "outputs": run.outputs,
        "timings": run.timings,
    }


async def _answer_outputs(exchange: Exchange, run: Run) -> None:
    with Presence(exchange, run.cancel) as presence:
        try:
            outputs = await run.result()
        except Cancelled:
            if presence.has_left:
                raise ClientGone from None
            raise
    place = [(b"content-location", f"/api/runs/{run.id}".encode())]
    if _accepts(exchange, PNG):
        await exchange.respond(200, to_png(outputs), PNG, place)
    else:
        await exchange.respond(200, to_json(describe_run(run)), JSON, place)


async def _answer_accepted(exchange: Exchange, run: Run) -> None:
    place = f"/api/runs/{run.id}"
    answer = {"run": run.id, "workflow": run.graph.name, "version": run.graph.version}
    links = {"self": place, "events": f"{place}/events"}
    body = to_json({**answer, "state": run.state.value, "links": links})
    await exchange.respond(202, body, JSON, [(b"location", place.encode())])


async def _stream_prediction(
    service: Service,
    exchange: Exchange,
    deployment: Deployment,
    inputs: Values,
    params: Values,
    options: RunOptions,
) -> None:
    log = EventLog()

    async def work() -> None:
        try:
            outputs = await service.orchestrator.predict(
                deployment.name,
                inputs,
                params,
                version=deployment.version,
                sink=lambda chunk: log.add("predict.chunk", chunk),
                options=options,
            )
            log.add("predict.finished", {"outputs": outputs})
        except TorchLoomError as error:
            log.add("predict.failed", {"error": to_problem(exchange, error)})
            failures.append(error)
        finally:
            log.close()

    failures: list[TorchLoomError] = []
    task = asyncio.create_task(work())
    with Presence(exchange, task.cancel, keepalive_s=service.settings.keepalive_s):
        try:
            # What fails before its first chunk is answered with its own status.
            first = await anext(log.follow(), None)
            if first is None or (failures and first.type == "predict.failed"):
                _raise_first(failures)
            await send_events(exchange, log.follow())
        finally:
            task.cancel()


def _raise_first(failures: list[TorchLoomError]) -> NoReturn:
    raise failures[0] if failures else ClientGone


def to_problem(exchange: Exchange, error: TorchLoomError) -> Problem:
    """Show an error inside of a stream."""
    return Problem.from_error(error, instance=exchange.path, request_id=exchange.id)


async def _read_values(service: Service, exchange: Exchange) -> tuple[object, bool]:
    """Read and parse the body; also tell whether it is a form."""
    media_type = exchange.headers.get(b"content-type")
    form = to_form(media_type)
    body = await read_body(exchange, service.settings.body_limit)
    if form == "json":
        return parse_json(body), False
    return parse(body, media_type), form == "multipart"


def _split_call(values: object, *, is_form: bool) -> tuple[object, object]:
    """Tell inputs and params apart: a form's fields are inputs."""
    if is_form:
        return values, {}
    if not isinstance(values, dict) or "inputs" not in values:
        raise InvalidInput('Send an object such as {"inputs": {…}, "params": {…}}.')
    unknown = sorted(set(values) - {"inputs", "params"})
    if unknown:
        message = f"There is no key {unknown[0]!r} here: send 'inputs' and 'params'."
        raise InvalidInput(message)
    return values["inputs"], values.get("params", {})


def read_options(
    service: Service, exchange: Exchange, *, is_background: bool = False
) -> RunOptions:
    """Read what headers say of a call: deadline, priority, trace. Raises BadRequest."""
    headers = exchange.headers
    return RunOptions(
        timeout_s=read_timeout(headers, service.settings.max_run_s),
        priority=read_priority(headers),
        is_background=is_background,
        is_streamed=is_background or _accepts(exchange, EVENT_STREAM),
        trace_parent=str(exchange.trace),
    )


def read_timeout(headers: Mapping[bytes, bytes], max_s: float | None) -> float | None:
    """Read `X-Request-Timeout`, within the most seconds that there are. Raises BadRequest."""
    given = headers.get(b"x-request-timeout")
    if given is None:
        return max_s
    try:
        timeout_s = float(given)
    except ValueError:
        timeout_s = -1.0
    if not 0 < timeout_s < float("inf"):
        raise BadRequest("X-Request-Timeout must be a number of seconds above 0.")
    return timeout_s if max_s is None else min(timeout_s, max_s)


def read_priority(headers: Mapping[bytes, bytes]) -> int:
    """Read `X-Priority`. Raises BadRequest."""
    given = headers.get(b"x-priority")
    if given is None:
        return 0
    try:
        priority = int(given)
    except ValueError:
        priority = _MAX_PRIORITY + 1
    if abs(priority) > _MAX_PRIORITY:
        message = f"X-Priority must be a whole number from -{_MAX_PRIORITY} to {_MAX_PRIORITY}."
        raise BadRequest(message)
    return priority


def _is_background(exchange: Exchange) -> bool:
    query = exchange.scope["query_string"]
    if not query:
        return False
    for pair in query.split(b"&"):
        name, _, value = pair.partition(b"=")
        if name == b"background":
            if value.lower() not in (b"true", b"false", b"1", b"0"):
                raise BadRequest("The query parameter 'background' must be true or false.")
            return value.lower() in (b"true", b"1")
    return False


def _accepts(exchange: Exchange, media_type: bytes) -> bool:
    """Tell whether the client asks for a media type by name; wildcards ask for JSON."""
    accept = exchange.headers.get(b"accept")
    return accept is not None and media_type in accept.lower()
