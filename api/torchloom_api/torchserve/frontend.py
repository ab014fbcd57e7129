"""Frontend: what every route of TorchServe's API works with. Knows no route."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import msgspec

from torchloom_api.service import Service
from torchloom_api.torchserve.absent_models import AbsentModels
from torchloom_api.torchserve.catalog import Catalog, Served
from torchloom_api.torchserve.frontend_error import Header
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.gate import Gate
from torchloom_api.torchserve.registration import Registration
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.workflow.registration import WorkflowRegistration


#: States of a replica in which a worker is there, or soon will be.
_LIVING: Final = frozenset({"ready", "starting", "waiting"})


class Answered(msgspec.Struct, frozen=True, kw_only=True):
    """A request that has been answered, for logs and counters. `is_native`: by the native API."""

    client: str
    method: str
    uri: str
    http_version: str
    status: int
    seconds: float
    is_native: bool = False


class Called(msgspec.Struct, frozen=True, kw_only=True):
    """A call over gRPC that is over. `path` is `SERVICE/METHOD`, `code` the number of gRPC's."""

    client: str
    path: str
    code: int
    seconds: float


class Predicted(msgspec.Struct, frozen=True, kw_only=True):
    """A prediction that is over. `version`: as it was asked for, None where it was not.

    `number`: the version in the registry. `queue_s` and `run_s`: how long it waited, and was with a
    worker; None of one that failed.
    """

    model: str
    version: str | None
    number: int
    request_id: str
    status: int
    seconds: float
    queue_s: float | None = None
    run_s: float | None = None
    #: Whether it was a workflow's node that asked, and no request.
    is_of_node: bool = False


@dataclass(slots=True, kw_only=True)
class Frontend:
    """The parts. What watches (logs, metrics) is told through the lists of listeners.

    `metrics_page` writes what `/metrics` answers, given the names that are asked for.
    """

    settings: FrontendSettings
    service: Service
    catalog: Catalog
    gate: Gate
    registration: Registration
    workflows: WorkflowRegistration
    #: What is to be served from the start and is not, until something serves that is it.
    absent: AbsentModels = field(default_factory=AbsentModels)
    on_answered: list[Callable[[Answered], None]] = field(default_factory=list)
    on_called: list[Callable[[Called], None]] = field(default_factory=list)
    #: Are told of a request's predictions together.
    on_predicted: list[Callable[[Sequence[Predicted]], None]] = field(default_factory=list)
    #: Is awaited before a request is answered; what it raises is the answer.
    before: Callable[[Request], Awaitable[None]] | None = None
    metrics_page: Callable[[Sequence[str]], bytes] = lambda _: b""
    #: Says what a device (`cuda:0`) is at, as descriptions of workers have it.
    gpu_usage: Callable[[str], str] = lambda _: "N/A"
    #: Where gRPC answers, as HOST:PORT.
    grpc_addresses: dict[str, str] = field(default_factory=dict)
    now: Callable[[], float] = time.monotonic
    #: Since when a model has had too few workers, by name, as `/ping` has seen it.
    _short_since: dict[str, float] = field(default_factory=dict)

    @property
    def extra_headers(self) -> Sequence[Header]:
        """Give what the operator adds to each answer."""
        settings = self.settings
        named: Mapping[str, str | None] = {
            "access-control-allow-origin": settings.cors_allowed_origin,
            "access-control-allow-methods": settings.cors_allowed_methods,
            "access-control-allow-headers": settings.cors_allowed_headers,
        }
        return [(name, value) for name, value in named.items() if value]

    def is_healthy(self) -> bool:
        """Tell whether every model's default version has its workers, or will soon again."""
        if not self.service.is_started or self.service.orchestrator.is_draining:
            return False
        defaults = [self.catalog.find(name) for name in self.catalog.names()]
        sound = [self._has_workers(each) for each in defaults if not each.is_loading]
        return all(sound) and not self.absent

    def _has_workers(self, served: Served) -> bool:
        status = self.catalog.status(served)
        if status is None or status.state == "evicted":
            return True
        states = [replica.state for replica in status.replicas]
        wanted = served.limits.min_workers
        if states.count("ready") >= wanted:
            self._short_since.pop(served.name, None)
            return True
        since = self._short_since.setdefault(served.name, self.now())
        is_recovering = self.now() - since < served.limits.max_retry_timeout_s
        return is_recovering and sum(state in _LIVING for state in states) >= wanted
