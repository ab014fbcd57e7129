"""AdapterShelf: the adapters of models that serve: listed, loaded, unloaded, and kept in the store.

Those of a model file come with the model. What is changed while it serves stands above that, and is
told to each worker that starts, and again after a restart of the server. Knows no HTTP.
"""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Final, cast
from weakref import WeakValueDictionary

import msgspec

from torchloom.deployment import Deployment
from torchloom.errors import Conflict, InvalidInput, TorchLoomError, UnknownModel, nearest
from torchloom.model_status import ModelStatus
from torchloom.orchestrator import Orchestrator
from torchloom.store import Store
from torchloom_models.llm.adapter.field import NAME_PATTERN, SETTING, takes_adapters
from torchloom_models.source import resolve_source


_log = logging.getLogger(__name__)

#: Where changes are kept, beside the documents of models.
STORED: Final = "adapters"


class AdapterEntry(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter that may be asked for. `is_declared`: the model file names it."""

    name: str
    source: str
    is_declared: bool


def adapters_of(status: ModelStatus) -> list[AdapterEntry]:
    """List a model's adapters: those of its file, and what was changed since."""
    declared = cast("Mapping[str, str]", status.deployment.config.get("adapters", {}))
    sources: dict[str, str | None] = dict(declared)
    for key, value in status.settings.items():
        if key.startswith(SETTING):
            given = cast("Mapping[str, str] | None", value)
            sources[key.removeprefix(SETTING)] = None if given is None else given["source"]
    return [
        AdapterEntry(name=name, source=source, is_declared=declared.get(name) == source)
        for name, source in sources.items()
        if source is not None
    ]


class AdapterShelf:
    """Loads and unloads. Two calls for one model go one after the other.

    `read_source` makes a source that came over the network absolute, or refuses it.
    """

    def __init__(
        self, orchestrator: Orchestrator, store: Store, *, read_source: Callable[[str], str]
    ) -> None:
        self._orchestrator = orchestrator
        self._store = store
        self._read_source = read_source
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    def list(self, name: str, version: int | None) -> Sequence[AdapterEntry]:
        """List a model's adapters. Raises UnknownModel."""
        return adapters_of(self._orchestrator.model(name, version))

    async def load(
        self, name: str, version: int | None, *, adapter: str, source: str
    ) -> tuple[AdapterEntry, bool]:
        """Load an adapter, for good; also tell whether it is new. Returns when it may be asked for.

        Raises UnknownModel, InvalidInput, Conflict where the name has another source, and what kept
        an engine from taking it, with all of them as they were.
        """
        deployment = self._find(name, version)
        if re.fullmatch(NAME_PATTERN, adapter) is None:
            message = (
                f"{adapter!r} cannot be an adapter's name: use letters, digits, '_', '-' and '.', "
                "up to 128."
            )
            raise InvalidInput(message)
        source = self._read_source(source)
        async with self._lock(deployment):
            there = self._entry(deployment, adapter)
            if there is not None:
                if there.source == source:
                    return there, False
                message = f"Adapter {adapter!r} is loaded already, from {there.source!r}."
                raise Conflict(message)
            if source.startswith("hf://"):
                # Engines find it in the hub's cache then, and no step of theirs waits for it.
                await asyncio.to_thread(resolve_source, source, lambda *_: None)
            await self._change(deployment, adapter, {"source": source})
            entry = self._entry(deployment, adapter)
        assert entry is not None, "it was loaded"
        return entry, True

    async def unload(self, name: str, version: int | None, *, adapter: str) -> None:
        """Let nobody ask for an adapter any more; what it writes now is finished. UnknownModel."""
        deployment = self._find(name, version)
        async with self._lock(deployment):
            if self._entry(deployment, adapter) is None:
                known = [entry.name for entry in self.list(name, deployment.version)]
                message = (
                    f"Model {deployment.label!r} has no adapter {adapter!r}."
                    f"{nearest(adapter, known)}"
                )
                raise UnknownModel(message)
            await self._change(deployment, adapter, None)

    async def restore(self) -> None:
        """Tell models that serve what the store holds; what an engine does not take is logged."""
        for stored in self._store.documents(STORED):
            changes = msgspec.json.decode(stored.text, type=dict[str, str | None])
            for adapter, source in changes.items():
                try:
                    await self._orchestrator.apply_setting(
                        stored.name,
                        stored.version,
                        key=f"{SETTING}{adapter}",
                        value=None if source is None else {"source": source},
                    )
                except TorchLoomError as error:
                    label = f"{stored.name}@{stored.version}"
                    _log.error("Model %s serves without adapter %r: %s", label, adapter, error)

    async def _change(
        self, deployment: Deployment, adapter: str, value: Mapping[str, str] | None
    ) -> None:
        """Tell every engine, and keep it; where it cannot be kept, all is as it was."""
        name, version, key = deployment.name, deployment.version, f"{SETTING}{adapter}"
        before = self._orchestrator.model(name, version).settings.get(key)
        await self._orchestrator.apply_setting(name, version, key=key, value=value)
        try:
            self._keep(deployment)
        except BaseException:
            await self._orchestrator.apply_setting(name, version, key=key, value=before)
            raise

    def _keep(self, deployment: Deployment) -> None:
        settings = self._orchestrator.model(deployment.name, deployment.version).settings
        changes = {
            key.removeprefix(SETTING): value and cast("Mapping[str, str]", value)["source"]
            for key, value in settings.items()
            if key.startswith(SETTING)
        }
        text = msgspec.json.encode(changes).decode()
        self._store.put(STORED, deployment.name, deployment.version, text + "\n")

    def _find(self, name: str, version: int | None) -> Deployment:
        deployment = self._orchestrator.model(name, version).deployment
        if deployment.kind != "llm" or not takes_adapters(deployment.config):
            message = (
                f"Model {deployment.label!r} takes no adapters. A language model whose file has "
                "the key `adapters`, be it empty, or `max_adapters`, takes them."
            )
            raise InvalidInput(message)
        return deployment

    def _entry(self, deployment: Deployment, adapter: str) -> AdapterEntry | None:
        entries = self.list(deployment.name, deployment.version)
        return next((entry for entry in entries if entry.name == adapter), None)

    def _lock(self, deployment: Deployment) -> asyncio.Lock:
        return self._locks.setdefault(deployment.label, asyncio.Lock())
