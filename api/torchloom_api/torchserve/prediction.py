"""Prediction: a request to a handler, and what it answers: whole, or in parts as they come.

Knows no route: whoever calls says which model is meant, and how it is spoken of.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, cast

from torchloom.errors import DeadlineExceeded, NotServing, QueueFull, TorchLoomError, WorkerDied
from torchloom.event_log import EventLog
from torchloom.model_status import ModelStatus
from torchloom.run import RunOptions
from torchloom.timings import Meter
from torchloom.watchdog import Watchdog
from torchloom_api.exchange import ClientGone
from torchloom_api.presence import Presence
from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.form import read_form
from torchloom_api.torchserve.frontend import Frontend, Predicted
from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    internal,
    to_frontend_error,
    unavailable,
)
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request


#: Says that further parts follow.
_STREAM_NEXT: Final = ("ts_stream_next", "true")

_CHUNK: Final = "chunk"


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """What is asked of a model. `version`: as the path has it; None means the default one.

    Of what is None here, the handler finds no header.
    """

    model: str
    version: str | None = None
    url_path: str | None = None
    is_explain: bool | None = None
    with_query: bool = False


@dataclass(slots=True)
class Outcome:
    """How a prediction ends, for those who are told; 0: its client has left.

    `meter`: what it takes.
    """

    status: int = 0
    meter: Meter = field(default_factory=Meter)


@contextmanager
def told(frontend: Frontend, served: Served, call: Call, request_id: str) -> Iterator[Outcome]:
    """Tell those who watch of a prediction, however it ends; whoever makes it says its status."""
    started = frontend.now()
    outcome = Outcome()
    try:
        yield outcome
    except FrontendError as error:
        outcome.status = error.status
        raise
    finally:
        over = Predicted(
            model=served.name,
            version=call.version,
            number=served.number,
            request_id=request_id,
            status=outcome.status,
            seconds=frontend.now() - started,
            queue_s=outcome.meter.queue_s if outcome.meter.num_tasks else None,
            run_s=outcome.meter.run_s if outcome.meter.num_tasks else None,
        )
        for listen in frontend.on_predicted:
            listen(over)


async def predict(frontend: Frontend, request: Request, reply: Reply, call: Call) -> Answer | None:
    """Ask a model. Gives the answer, or None where it was sent in parts. Raises FrontendError."""
    served = frontend.catalog.find(call.model, call.version)
    with told(frontend, served, call, request.id) as outcome:
        answer = await _ask(frontend, request, reply, call, served, outcome.meter)
        outcome.status = reply.exchange.status if answer is None else answer.status
    return answer


async def _ask(
    frontend: Frontend, request: Request, reply: Reply, call: Call, served: Served, meter: Meter
) -> Answer | None:
    settings = frontend.settings
    require_ticket(frontend, served, call)
    form = read_form(
        request,
        with_query=call.with_query or settings.query_to_handlers,
        is_decoded=settings.decode_input_request,
    )
    params: dict[str, object] = {
        "headers": dict(request.headers),
        "content_types": dict(form.content_types),
        "request_id": request.id,
        "is_explain": call.is_explain,
        "url_path": call.url_path,
    }
    sequence_id = request.header(settings.sequence_headers.id)
    if sequence_id:
        params["sequence_id"] = sequence_id
    prediction = Prediction(frontend, served, form.fields, params, meter)
    with Presence(reply.exchange, prediction.cancel) as presence:
        try:
            return await _deliver(frontend, request, reply, call, prediction)
        except asyncio.CancelledError:
            if presence.has_left:
                raise ClientGone from None
            raise
        finally:
            prediction.cancel()


async def _deliver(
    frontend: Frontend, request: Request, reply: Reply, call: Call, prediction: Prediction
) -> Answer | None:
    """Send parts as they come, if there are any; give the whole answer otherwise."""
    has_begun = False
    async for outputs in prediction.parts():
        if has_begun:
            await reply.write(_body(outputs))
        else:
            part = to_answer(outputs, frontend.settings.max_response_size)
            await reply.begin(_with_header(part, _STREAM_NEXT))
        has_begun = True
    try:
        outputs = await prediction.outputs()
    except TorchLoomError as error:
        if has_begun:
            raise  # the connection is cut: the status cannot be taken back
        raise say(error, call, frontend, request.id) from error
    if not has_begun:
        return to_answer(outputs, frontend.settings.max_response_size)
    await reply.write(_body(outputs), is_last=True)
    return None


def require_ticket(frontend: Frontend, served: Served, call: Call) -> None:
    """Refuse what no worker waits for, where a model has job tickets. Raises FrontendError."""
    if served.limits.use_job_ticket and not _has_ticket(frontend.catalog.status(served)):
        raise no_worker(call.model, call.version)


def _has_ticket(status: ModelStatus | None) -> bool:
    """Tell whether a worker stands ready for one request more than there are."""
    replicas = () if status is None else status.replicas
    room = sum(each.max_tasks - each.in_flight for each in replicas if each.state == "ready")
    return status is not None and room > status.queue_depth


class Prediction:
    """A call to a model that is under way, and the parts of its answer so far.

    Calls of a coroutine do not stop its worker, so that each is given up by itself where it has
    told nothing for as long as its model may take.
    """

    def __init__(
        self,
        frontend: Frontend,
        served: Served,
        inputs: Mapping[str, object],
        params: Mapping[str, object],
        meter: Meter,
    ) -> None:
        self._log = EventLog()
        limits = served.limits
        timeout_s = limits.client_timeout_ms / 1000 or None
        self._silence_s = limits.response_timeout_s if limits.is_async else None
        self._is_late = False
        # It knows this object, so that each would keep the other until it is looked for: not for
        # the many calls that need none.
        self._watchdog = None if self._silence_s is None else Watchdog(self._give_up)
        self._watch()
        self._task = asyncio.get_running_loop().create_task(
            frontend.service.orchestrator.predict(
                served.name,
                inputs,
                params,
                version=served.number,
                sink=self._take,
                options=RunOptions(timeout_s=timeout_s),
                meter=meter,
            )
        )
        self._task.add_done_callback(lambda _: self._end())

    def _watch(self) -> None:
        """Wait for the next sign of life."""
        if self._watchdog is not None:
            self._watchdog.begin(self._silence_s)

    def _take(self, chunk: Mapping[str, object]) -> None:
        self._watch()
        self._log.add(_CHUNK, chunk)

    def _end(self) -> None:
        if self._watchdog is not None:
            self._watchdog.end()
        self._log.close()

    def _give_up(self) -> None:
        self._is_late = True
        self._task.cancel()

    async def parts(self) -> AsyncIterator[Mapping[str, object]]:
        """Give the parts of a handler's answer as they come; ends with the call."""
        async for chunk in self.chunks():
            yield cast("Mapping[str, object]", chunk["data"])

    async def chunks(self) -> AsyncIterator[Mapping[str, object]]:
        """Give what any model tells meanwhile, as it comes; ends with the call."""
        async for event in self._log.follow():
            yield event.data

    async def outputs(self) -> Mapping[str, object]:
        """Give the last part, or the whole. Raises what the call raises, and WorkerDied."""
        try:
            return await self._task
        except asyncio.CancelledError:
            if self._is_late:
                message = f"The handler has told nothing for {self._silence_s} s."
                raise WorkerDied(message) from None
            raise

    def cancel(self) -> None:
        """Give it up, if it is not over."""
        self._task.cancel()


def to_answer(outputs: Mapping[str, object], max_bytes: int) -> Answer:
    """Make an answer of what a handler has given. Raises FrontendError where it is too large."""
    body = _body(outputs)
    if len(body) > max_bytes:
        raise internal("Worker died.")
    headers = cast("Mapping[str, str]", outputs.get("headers") or {})
    content_type = outputs.get("content_type")
    return Answer(
        status=_status(outputs.get("status")),
        reason=str(outputs.get("reason") or ""),
        body=body,
        content_type=content_type if isinstance(content_type, str) else None,
        headers=tuple(headers.items()),
    )


def _status(value: object) -> int:
    """Give the status that a handler has set, if HTTP has it."""
    return value if isinstance(value, int) and 200 <= value < 600 else 200  # noqa: PLR2004 - HTTP


def _body(outputs: Mapping[str, object]) -> bytes:
    body = outputs.get("body", b"")
    assert isinstance(body, bytes | bytearray | memoryview), "the contract of handlers"
    return bytes(body)


def _with_header(answer: Answer, header: tuple[str, str]) -> Answer:
    others = [each for each in answer.headers if each[0].lower() != header[0]]
    return Answer(
        status=answer.status,
        reason=answer.reason,
        body=answer.body,
        content_type=answer.content_type,
        headers=(*others, header),
    )


def say(error: TorchLoomError, call: Call, frontend: Frontend, request_id: str) -> FrontendError:
    """Say why there is no answer, in TorchServe's words."""
    if isinstance(error, QueueFull) and frontend.settings.queue_full_429:
        return too_many(call.model, error)
    if isinstance(error, DeadlineExceeded):
        message = "The request waited for longer than clientTimeoutInMills."
        return FrontendError(408, "RequestTimeoutException", message)
    if isinstance(error, QueueFull | NotServing):
        return no_worker(call.model, call.version)
    return to_frontend_error(error, request_id)


def too_many(model: str, error: QueueFull) -> FrontendError:
    """Say that the queue is full, and when to try again."""
    seconds = max(1, round(error.retry_after_s or 1.0))
    message = f'Model "{model}" has as many requests waiting as it may. Try again later.'
    headers = [("Retry-After", str(seconds))]
    return FrontendError(429, "ServiceUnavailableException", message, headers=headers)


def no_worker(model: str, version: str | None) -> FrontendError:
    """Say that nobody takes the request: there is no worker, or too much waits for them."""
    which = f'Model "{model}"' + (f' Version "{version}"' if version else "")
    return unavailable(
        f"{which} has no worker to serve inference request. Please use scale workers API to add "
        "workers. If this is a sequence inference, please check if it is closed, or expired; or "
        "exceeds maxSequenceJobQueueSize"
    )
