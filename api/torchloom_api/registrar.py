"""Registrar: documents become models and workflows that serve, are kept in the store, and go again.

What fails leaves nothing behind, but is remembered with its reason. Knows no HTTP and no format.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, Self
from weakref import WeakValueDictionary

import msgspec

from torchloom.dependency import refuse_if_needed
from torchloom.deployment import Deployment
from torchloom.errors import Conflict, InvalidWorkflow, NotServing, TorchLoomError
from torchloom.graph import Graph
from torchloom.orchestrator import Orchestrator
from torchloom.policy import ReplicaPolicy
from torchloom.pool import OnProgress
from torchloom.store import Store, Stored
from torchloom.traffic import Shadow
from torchloom_api.adapter_shelf import STORED as ADAPTERS
from torchloom_api.failed import Failed, FailedList, Kind
from torchloom_api.reader import Draft, Reader


_log = logging.getLogger(__name__)

#: Where traffic splits and changed numbers of replicas are kept, beside the documents.
TRAFFIC: Final[Mapping[Kind, str]] = {
    "models": "model_traffic",
    "workflows": "workflow_traffic",
}
REPLICAS: Final = "replicas"


class KeptTraffic(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How the store has a split of traffic."""

    weights: Mapping[int, float]
    shadow: Shadow | None = None

    @classmethod
    def of(cls, stored: Stored) -> Self:
        """Read it."""
        return msgspec.json.decode(stored.text, type=cls)

    def without(self, version: int) -> KeptTraffic:
        """Give what is left when a version is gone."""
        weights = {each: weight for each, weight in self.weights.items() if each != version}
        is_shadow = self.shadow is not None and self.shadow.version == version
        return KeptTraffic(weights=weights, shadow=None if is_shadow else self.shadow)


class Registrar:
    """Registers and removes. Two calls for one name and version go one after the other.

    A text with a `file` is the operator's: it is served, and not kept. One without came over the
    network: it is kept, and may refer to less. One that `is_kept` lies in the store already.
    """

    def __init__(
        self,
        orchestrator: Orchestrator,
        store: Store,
        reader: Reader,
        *,
        on_progress: OnProgress | None = None,
    ) -> None:
        self.failed = FailedList()
        self._orchestrator = orchestrator
        self._store = store
        self._reader = reader
        self._on_progress = on_progress
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        #: Labels of the workflows that brought a model along, by the model's label.
        self._brought: dict[str, set[str]] = {}

    # Models

    async def add_model(
        self, text: str | bytes, *, file: Path | None = None, is_kept: bool = False
    ) -> tuple[Deployment, bool]:
        """Register a model; also tell whether it is new. Returns when it serves.

        Raises InvalidModel, Conflict, and what kept the model from loading.
        """
        self._require_open()
        deployment = self._reader.read_model(text, file)
        async with self._lock("models", deployment.label):
            try:
                is_new = await self._load(deployment)
            except TorchLoomError as error:
                self._note(Failed.of(deployment, error))
                raise
            if is_new and file is None and not is_kept:
                try:
                    self._keep("models", deployment, text)
                except BaseException:
                    await self._orchestrator.remove_model(deployment.name, deployment.version)
                    raise
        self.failed.forget("models", deployment.name, deployment.version)
        return deployment, is_new

    async def remove_model(self, name: str, version: int | None, *, grace_s: float) -> None:
        """Drain, then remove a version, or all. Raises UnknownModel; Conflict if one is needed."""
        failed = self.failed.versions("models", name, version)
        versions = self.serving_models(name, version)
        if versions or not failed:
            await self._orchestrator.remove_model(name, version, grace_s=grace_s)
        for each in {*versions, *failed}:
            self._discard("models", name, each)
            self._store.remove(REPLICAS, name, each)
            self._store.remove(ADAPTERS, name, each)

    async def scale_model(self, name: str, version: int, replicas: ReplicaPolicy) -> None:
        """Change the bounds of the number of replicas, for good."""
        async with self._lock("models", f"{name}@{version}"):
            await self._orchestrator.scale_model(name, version, replicas=replicas)
            text = msgspec.json.encode(replicas).decode()
            self._store.put(REPLICAS, name, version, text + "\n")

    # Workflows

    def check_workflow(self, text: str | bytes) -> Draft:
        """Make all checks of a registration; nothing is registered, and nothing loaded."""
        return self._reader.read_workflow(text, None, self._orchestrator)

    async def add_workflow(
        self,
        text: str | bytes,
        *,
        file: Path | None = None,
        is_kept: bool = False,
        label: str | None = None,
    ) -> tuple[Graph, bool]:
        """Register a workflow and the models that it brings along; also tell whether it is new.

        With a `label`, the text must be of that workflow. Raises InvalidWorkflow, Conflict, and
        what kept a model from loading.
        """
        self._require_open()
        draft = self._reader.read_workflow(text, file, self._orchestrator)
        graph = draft.graph
        if label not in (None, graph.name, graph.label):
            message = f"The file is of workflow {graph.label!r}, the address of {label!r}."
            raise InvalidWorkflow(message)
        async with self._lock("workflows", graph.label):
            try:
                is_new = await self._register(draft, None if file or is_kept else text)
            except TorchLoomError as error:
                self._note(Failed.of(graph, error))
                raise
        self.failed.forget("workflows", graph.name, graph.version)
        return graph, is_new

    def entrust(self, owner: str, models: Iterable[str]) -> None:
        """Let models that serve already go with a workflow, as if it had brought them along."""
        for label in models:
            self._brought.setdefault(label, set()).add(owner)

    async def remove_workflow(self, name: str, version: int | None, *, grace_s: float) -> None:
        """Drain, then remove a version, or all, and the models that came along.

        Raises UnknownWorkflow; Conflict where another workflow calls it, or one of these models.
        """
        failed = self.failed.versions("workflows", name, version)
        versions = self.serving_workflows(name, version)
        self._refuse_if_missed({f"{name}@{each}" for each in versions})
        if versions or not failed:
            await self._orchestrator.remove_workflow(name, version, grace_s=grace_s)
        for each in {*versions, *failed}:
            self._discard("workflows", name, each)
            await self._drop_brought(f"{name}@{each}")

    async def _register(self, draft: Draft, text: str | bytes | None) -> bool:
        """Load what the draft brings, add its graph, keep its text; all of it or nothing."""
        graph = draft.graph
        is_new = not self._has_workflow(graph)
        loaded: list[Deployment] = []
        try:
            async with asyncio.TaskGroup() as group:
                for deployment in draft.models:
                    group.create_task(self._bring(deployment, graph.label, loaded))
            self._orchestrator.add_workflow(graph)
            if text is not None and is_new:
                self._keep("workflows", graph, text)
        except BaseException as error:  # noqa: BLE001 - undone, then raised again
            await self._undo(graph, loaded, was_there=not is_new)
            raise first_error(error) from None
        return is_new

    async def _bring(self, deployment: Deployment, owner: str, loaded: list[Deployment]) -> None:
        async with self._lock("models", deployment.label):
            is_new = await self._load(deployment)
        if is_new:
            loaded.append(deployment)
            self._brought[deployment.label] = set()
        if deployment.label in self._brought:
            self._brought[deployment.label].add(owner)

    async def _undo(self, graph: Graph, loaded: Iterable[Deployment], *, was_there: bool) -> None:
        if not was_there:
            if self._has_workflow(graph):
                await self._orchestrator.remove_workflow(graph.name, graph.version)
            for owners in self._brought.values():
                owners.discard(graph.label)
        for deployment in loaded:
            if not self._brought.get(deployment.label):
                self._brought.pop(deployment.label, None)
                await self._orchestrator.remove_model(deployment.name, deployment.version)

    def _refuse_if_missed(self, owners: set[str]) -> None:
        """Raise Conflict where a workflow that stays calls a model that would go with these."""
        going = {label for label, brought in self._brought.items() if brought <= owners}
        left = [each for each in self._orchestrator.workflows() if each.label not in owners]
        for name in {label.rpartition("@")[0] for label in going}:
            if going >= {f"{name}@{each}" for each in self.serving_models(name)}:
                refuse_if_needed(name, left)

    async def _drop_brought(self, owner: str) -> None:
        """Remove the models that a workflow brought along, unless others brought them too."""
        for label, owners in list(self._brought.items()):
            owners.discard(owner)
            if not owners:
                del self._brought[label]
                await self._drop(label)

    async def _drop(self, label: str) -> None:
        """Remove a model that came along, unless somebody has come to call it meanwhile."""
        name, _, version = label.rpartition("@")
        if self.serving_models(name, int(version)):
            try:
                await self._orchestrator.remove_model(name, int(version))
            except Conflict as error:
                _log.warning("Model %s stays in service: %s", label, error.message)

    # Traffic

    def set_traffic(
        self, kind: Kind, name: str, weights: Mapping[int, float], shadow: Shadow | None = None
    ) -> None:
        """Split requests between versions by weight, with copies for a shadow, for good."""
        kept = KeptTraffic(weights=weights, shadow=shadow)
        self.split_traffic(kind, name, kept)
        self._keep_traffic(kind, name, kept)

    def split_traffic(self, kind: Kind, name: str, kept: KeptTraffic) -> None:
        """Split requests as it is kept, until the server ends."""
        is_model = kind == "models"
        core = self._orchestrator
        split = core.set_model_traffic if is_model else core.set_workflow_traffic
        split(name, kept.weights, kept.shadow)

    # Bookkeeping

    def serving_models(self, name: str, version: int | None = None) -> list[int]:
        """List the versions of a model that are in service, or the one that is asked for."""
        deployments = [status.deployment for status in self._orchestrator.models()]
        return [d.version for d in deployments if d.name == name and version in (None, d.version)]

    def serving_workflows(self, name: str, version: int | None = None) -> list[int]:
        """List the versions of a workflow that are in service, or the one that is asked for."""
        graphs = self._orchestrator.workflows()
        return [g.version for g in graphs if g.name == name and version in (None, g.version)]

    def _has_workflow(self, graph: Graph) -> bool:
        return bool(self.serving_workflows(graph.name, graph.version))

    def _require_open(self) -> None:
        if self._orchestrator.is_draining:
            message = "The server is draining: nothing is registered any more."
            raise NotServing(message, retry_after_s=1.0)

    def _lock(self, kind: Kind, label: str) -> asyncio.Lock:
        return self._locks.setdefault(f"{kind} {label}", asyncio.Lock())

    async def _load(self, deployment: Deployment) -> bool:
        is_new = not self.serving_models(deployment.name, deployment.version)
        await self._orchestrator.add_model(deployment, on_progress=self._on_progress)
        return is_new

    def _keep(self, kind: Kind, thing: Deployment | Graph, text: str | bytes) -> None:
        decoded = text if isinstance(text, str) else text.decode()
        self._store.put(kind, thing.name, thing.version, decoded)

    def _discard(self, kind: Kind, name: str, version: int) -> None:
        """Take a version out of the store; with the last one goes the split."""
        self._store.remove(kind, name, version)
        self.failed.forget(kind, name, version)
        is_model = kind == "models"
        left = self.serving_models(name) if is_model else self.serving_workflows(name)
        if not left:
            self._store.remove(TRAFFIC[kind], name, 0)
        for stored in list(self._store.documents(TRAFFIC[kind])):
            if stored.name == name:
                self._keep_traffic(kind, name, KeptTraffic.of(stored).without(version))

    def _keep_traffic(self, kind: Kind, name: str, kept: KeptTraffic) -> None:
        """Keep a split; one that splits nothing is none."""
        if sum(kept.weights.values()) > 0:
            self._store.put(TRAFFIC[kind], name, 0, msgspec.json.encode(kept).decode() + "\n")
        else:
            self._store.remove(TRAFFIC[kind], name, 0)

    def _note(self, failed: Failed) -> None:
        _log.error("%s %s@%s: %s", failed.kind, failed.name, failed.version, failed.error)
        is_model = failed.kind == "models"
        find = self.serving_models if is_model else self.serving_workflows
        if not find(failed.name, failed.version):
            self.failed.add(failed)


def first_error(error: BaseException) -> BaseException:
    """Give the first error of a group: of tasks that failed side by side, one is told."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
