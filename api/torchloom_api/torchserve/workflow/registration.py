"""WorkflowRegistration: a workflow archive becomes models and a graph, or leaves nothing behind.

Its nodes are registered as any archive is, side by side; then the graph that calls them is added.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import yaml

from torchloom.errors import Conflict, TorchLoomError, UnknownModel
from torchloom.orchestrator import Orchestrator
from torchloom_api.registrar import Registrar
from torchloom_api.torchserve.archive_file import UnreadableArchive
from torchloom_api.torchserve.archive_url import ArchiveFinder, Found, Wording
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend_error import FrontendError, bad_request
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.limits import Wish
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.registration import Order, Registration
from torchloom_api.torchserve.workflow.document import to_workflow_file
from torchloom_api.torchserve.workflow.specification import InvalidDag, NodeSpec, Specification
from torchloom_api.torchserve.workflow.table import VERSION, ServedWorkflow, WorkflowTable


_log = logging.getLogger(__name__)

#: How long a name may be, with that of a node: it names a model.
_NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")

_WORDING: Final = Wording(
    noun="Workflow",
    kind="WorkflowNotFoundException",
    empty="Workflow not found at: ",
    absent="Workflow not found in workflow store",
    there=("FileAlreadyExistsException", "{name}"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOrder:
    """What a registration asks for. What is None is the archive's to say, or the server's."""

    url: str
    name: str | None = None
    response_timeout_s: int | None = None
    startup_timeout_s: int | None = None

    @classmethod
    def of(cls, parameters: Parameters) -> WorkflowOrder:
        """Read it. Raises FrontendError for what cannot be."""
        url = parameters.text("url")
        if url is None:
            raise bad_request("Parameter url is required.")
        return cls(
            url=url,
            name=parameters.text("workflow_name") or None,
            response_timeout_s=_positive(parameters.number("response_timeout")),
            startup_timeout_s=_positive(parameters.number("startup_timeout")),
        )


def _positive(value: int | None) -> int | None:
    return value if value is not None and value > 0 else None


class WorkflowRegistration:
    """Registers and removes workflows. What nobody waits for any more goes on to its end."""

    def __init__(
        self,
        settings: FrontendSettings,
        models: Registration,
        registrar: Registrar,
        orchestrator: Orchestrator,
    ) -> None:
        store = settings.workflow_store or settings.model_store
        self.table = WorkflowTable(orchestrator, on_gone=self._clean)
        self._finder = ArchiveFinder(store, settings, wording=_WORDING)
        self._grace_s = float(settings.unregister_model_timeout_s)
        self._models = models
        self._registrar = registrar
        self._orchestrator = orchestrator
        self._running: set[asyncio.Task[ServedWorkflow]] = set()

    async def register(self, order: WorkflowOrder) -> ServedWorkflow:
        """Register; returns when all of it serves. FrontendError: nothing of it is left behind."""
        found = await self._finder.find(order.url)
        running = asyncio.get_running_loop().create_task(self._register(order, found))
        self._running.add(running)
        running.add_done_callback(self._end)
        return await asyncio.shield(running)

    async def unregister(self, name: str) -> None:
        """Let its runs end, then remove it and its models. FrontendError: others need them."""
        served, graph = self.table.find(name)
        own = {node.name for node in served.nodes}
        users = [
            each.label
            for each in self._orchestrator.workflows()
            if each is not graph and each.models & own
        ]
        if users:
            message = (
                f"The models of workflow {name} are used by {', '.join(users)}. Remove that first."
            )
            raise FrontendError(409, "ConflictStatusException", message)
        try:
            await self._registrar.remove_workflow(name, VERSION, grace_s=self._grace_s)
        except Conflict as error:
            raise FrontendError(409, "ConflictStatusException", error.message) from error
        self.table.drop(served)
        self._clean(served)

    async def close(self) -> None:
        """Give up what is still being registered."""
        for task in self._running:
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)

    def _end(self, running: asyncio.Task[ServedWorkflow]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # who waits for it is told; else the log has it

    def _clean(self, served: ServedWorkflow) -> None:
        """Forget what belongs to a workflow that is gone."""
        for node in served.nodes:
            self._models.forget(node)
        if served.fetched is not None:
            served.fetched.unlink(missing_ok=True)

    async def _register(self, order: WorkflowOrder, found: Found) -> ServedWorkflow:
        served = None
        try:
            specification = await _read(order, found)
            served = ServedWorkflow(
                url=order.url,
                specification=specification,
                fetched=found.path if found.is_fetched else None,
            )
            self.table.put(served)
            await self._serve(order, found, served)
        except BaseException:
            if served is not None:
                self.table.drop(served)
            if found.is_fetched:
                found.path.unlink(missing_ok=True)
            raise
        served.is_loading = False
        return served

    async def _serve(self, order: WorkflowOrder, found: Found, served: ServedWorkflow) -> None:
        """Load its nodes, then add the graph; whatever fails, nothing of it is left."""
        name = served.name
        loads = [
            asyncio.get_running_loop().create_task(
                self._models.register(_to_order(order, found, name, node))
            )
            for node in served.specification.nodes
        ]
        try:
            outcomes = await asyncio.gather(*loads, return_exceptions=True)
            served.serve(
                _require(name, list(zip(served.specification.nodes, outcomes, strict=True)))
            )
            await self._add_graph(found, served)
        except BaseException:
            await self._undo(loads)
            raise

    async def _add_graph(self, found: Found, served: ServedWorkflow) -> None:
        document = to_workflow_file(served.specification, with_bodies=True)
        text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
        try:
            graph, _ = await self._registrar.add_workflow(text, file=found.path)
        except TorchLoomError as error:
            message = f"Workflow {served.name} has failed to register: {error.message}"
            _log.error("%s", message)
            raise FrontendError(500, "WorkflowException", message) from error
        self._registrar.entrust(
            graph.label, [f"{each.name}@{each.number}" for each in served.nodes]
        )

    async def _undo(self, loads: Sequence[asyncio.Task[Served]]) -> None:
        """Remove the nodes that were loaded; one that is still loading is waited for."""
        outcomes = await asyncio.gather(*loads, return_exceptions=True)
        loaded = [outcome for outcome in outcomes if isinstance(outcome, Served)]
        await asyncio.gather(*(self._remove(each) for each in loaded))

    async def _remove(self, served: Served) -> None:
        try:
            await self._models.remove(served, grace_s=0.0)
        except (Conflict, UnknownModel) as error:
            _log.error("%s is not removed: %s", served.name, error.message)


async def _read(order: WorkflowOrder, found: Found) -> Specification:
    """Read the archive. Raises FrontendError for one that is none."""
    try:
        specification = await asyncio.to_thread(Specification.read, found.path, name=order.name)
    except InvalidDag as error:
        raise FrontendError(400, "InvalidDAGException", error.message) from error
    except UnreadableArchive as error:
        message = f"The workflow {order.url} cannot be registered: {error.message}"
        raise FrontendError(400, "InvalidWorkflowException", message) from error
    names = (specification.name, *(node.model_name for node in specification.nodes))
    wrong = next((name for name in names if not _NAME.fullmatch(name)), None)
    if wrong is not None:
        message = (
            f"{wrong!r} can be no name: it has letters, digits, '_', '.' and '-', and 128 "
            "characters at most."
        )
        raise FrontendError(400, "InvalidWorkflowException", message)
    return specification


def _to_order(order: WorkflowOrder, found: Found, workflow: str, node: NodeSpec) -> Order:
    """Give what registers a node: its archive, or its function in that of the workflow."""
    return Order(
        url=order.url if node.url is None else node.url,
        name=node.model_name,
        version="1.0" if node.is_function else None,
        handler=node.handler,
        wish=Wish(
            initial_workers=node.workers,
            max_workers=node.workers,
            batch_size=node.batch_size,
            max_batch_delay_ms=node.max_batch_delay_ms,
            response_timeout_s=order.response_timeout_s,
            startup_timeout_s=order.startup_timeout_s,
        ),
        found=Found(path=found.path) if node.is_function else None,
        workflow=workflow,
        is_function=node.is_function,
    )


def _require(
    name: str, outcomes: Sequence[tuple[NodeSpec, Served | BaseException]]
) -> list[Served]:
    """Give the nodes. Raises FrontendError that says which failed, and why."""
    told = []
    for node, outcome in outcomes:
        if isinstance(outcome, FrontendError):
            is_start = outcome.message.startswith("Failed to start workers for model ")
            prefix = f"Workflow Node {node.model_name} failed to register. Details: "
            told.append(outcome.message if is_start else prefix + outcome.message)
        elif isinstance(outcome, BaseException):
            raise outcome
    if told:
        message = f"Workflow {name} has failed to register. Failures: [{', '.join(told)}]"
        _log.error("%s", message)
        raise FrontendError(500, "WorkflowException", message)
    return [outcome for _, outcome in outcomes if isinstance(outcome, Served)]
