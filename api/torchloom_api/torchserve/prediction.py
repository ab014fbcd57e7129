"""Prediction: a request to a handler, and what it answers: whole, or in parts as they come.

Knows no route: whoever calls says which model is meant, and how it is spoken of.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass, field
from types import TracebackType

import msgspec

from torchloom.cache import Sink
from torchloom.errors import DeadlineExceeded, NotServing, QueueFull, TorchLoomError, WorkerDied
from torchloom.model_status import ModelStatus
from torchloom.run_options import RunOptions
from torchloom.timings import Meter
from torchloom.watchdog import Watchdog
from torchloom_api.presence import while_present
from torchloom_api.torchserve.answer import Answer
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.form import read_form
from torchloom_api.torchserve.frontend import Frontend, Predicted
from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    to_frontend_error,
    unavailable,
)
from torchloom_api.torchserve.handler_answer import to_answer
from torchloom_api.torchserve.limits import Limits
from torchloom_api.torchserve.part_stream import PartStream
from torchloom_api.torchserve.reply import Reply
from torchloom_api.torchserve.request import Request


class Call(msgspec.Struct, frozen=True, kw_only=True):
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


class Told:
    """Tell those who watch of a prediction, however it ends; whoever makes it says its status."""

    __slots__ = ("_call", "_frontend", "_outcome", "_request_id", "_served", "_started")

    def __init__(self, frontend: Frontend, served: Served, call: Call, request_id: str) -> None:
        self._frontend, self._served, self._call = frontend, served, call
        self._request_id = request_id
        self._outcome = Outcome()

    def __enter__(self) -> Outcome:
        """Begin to count its time."""
        self._started = self._frontend.now()
        return self._outcome

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Tell."""
        if isinstance(error, FrontendError):
            self._outcome.status = error.status
        meter = self._outcome.meter
        over = Predicted(
            model=self._served.name,
            version=self._call.version,
            number=self._served.number,
            request_id=self._request_id,
            status=self._outcome.status,
            seconds=self._frontend.now() - self._started,
            queue_s=meter.queue_s if meter.num_tasks else None,
            run_s=meter.run_s if meter.num_tasks else None,
        )
        for listen in self._frontend.on_predicted:
            listen((over,))


async def predict(frontend: Frontend, request: Request, reply: Reply, call: Call) -> Answer | None:
    """Ask a model. Gives the answer, or None where it was sent in parts. Raises FrontendError."""
    served = frontend.catalog.find(call.model, call.version)
    with Told(frontend, served, call, request.id) as outcome:
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
    parts = PartStream(reply, settings.max_response_size, prediction.break_off)
    return await while_present(reply.exchange, _deliver(frontend, request, call, prediction, parts))


async def _deliver(
    frontend: Frontend, request: Request, call: Call, prediction: Prediction, parts: PartStream
) -> Answer | None:
    """Have parts sent as they come, if there are any; give the whole answer otherwise."""
    try:
        outputs = await prediction.run(parts.add)
        if not parts.has_any:
            return to_answer(outputs, frontend.settings.max_response_size)
        await parts.end(outputs)
    except TorchLoomError as error:
        if parts.has_any:
            await parts.flush()
            raise  # the connection is cut: the status cannot be taken back
        raise say(error, call, frontend, request.id) from error
    finally:
        parts.close()
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
    """A call to a model. The task that runs it may be broken off.

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
        self._frontend, self._served = frontend, served
        self._inputs, self._params = inputs, params
        self._meter = meter
        self._task: asyncio.Task[object] | None = None
        self._reason: Exception | None = None

    async def run(self, sink: Sink) -> Mapping[str, object]:
        """Give what the model does, and each chunk before it to the sink, as it comes.

        Raises what the call raises, what it was broken off for, and WorkerDied.
        """
        limits = self._served.limits
        silence_s = limits.response_timeout_s if limits.is_async else None
        if silence_s is None:
            return await self._run(sink, limits)
        late = WorkerDied(f"The handler has told nothing for {silence_s} s.")
        watchdog = Watchdog(lambda: self.break_off(late))

        def take(chunk: Mapping[str, object]) -> None:
            watchdog.begin(silence_s)
            sink(chunk)

        watchdog.begin(silence_s)
        try:
            return await self._run(take, limits)
        finally:
            watchdog.end()

    async def _run(self, sink: Sink, limits: Limits) -> Mapping[str, object]:
        self._task = asyncio.current_task()
        try:
            return await self._frontend.service.orchestrator.predict(
                self._served.name,
                self._inputs,
                self._params,
                version=self._served.number,
                sink=sink,
                options=RunOptions(timeout_s=limits.client_timeout_ms / 1000 or None),
                meter=self._meter,
            )
        except asyncio.CancelledError:
            reason, task = self._reason, self._task
            # Where somebody else cancels the task as well, that goes on.
            if reason is None or task is None or task.uncancel() > 0:
                raise
            raise reason from None
        finally:
            self._task = None

    def break_off(self, reason: Exception) -> None:
        """Have `run` raise this, if it is not over."""
        # One reason only: of a second cancellation nobody could tell that it was ours.
        if self._task is not None and self._reason is None:
            self._reason = reason
            self._task.cancel()


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
