"""Restoration: at the start, the operator's files and what the store holds come into service.

Knows no HTTP and no format; what loading means is the registrar's.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import msgspec

from torchloom.errors import InvalidWorkflow, TorchLoomError, UnknownModel, UnknownWorkflow
from torchloom.orchestrator import Orchestrator
from torchloom.policy import ReplicaPolicy
from torchloom.store import Store, Stored
from torchloom_api.failed import Failed, Kind
from torchloom_api.reader import Reader
from torchloom_api.registrar import REPLICAS, TRAFFIC, KeptTraffic, Registrar, first_error


_log = logging.getLogger(__name__)

#: Errors that another registration may mend: they are raised before anything is loaded.
_MENDABLE: Final = (InvalidWorkflow, UnknownModel, UnknownWorkflow)


class Restoration:
    """Brings everything into service, models side by side."""

    def __init__(
        self, orchestrator: Orchestrator, store: Store, reader: Reader, registrar: Registrar
    ) -> None:
        self._orchestrator = orchestrator
        self._store = store
        self._reader = reader
        self._registrar = registrar

    async def start(self, files: Iterable[Path]) -> None:
        """Load the files that the operator names, and what the store holds.

        A file that fails ends the start with its error. A kept registration that fails does not: it
        is told by the registrar's `failed`, and serves nothing.
        """
        texts = {file: file.read_bytes() for file in files}
        workflows = {f for f, text in texts.items() if self._reader.is_workflow(text, f)}
        try:
            async with asyncio.TaskGroup() as group:
                for file in texts.keys() - workflows:
                    group.create_task(self._registrar.add_model(texts[file], file=file))
                group.create_task(self._restore_models())
        except BaseException as error:  # noqa: BLE001 - raised again, out of its group
            raise first_error(error) from None
        for file, text in texts.items():
            if file in workflows:
                await self._registrar.add_workflow(text, file=file)
        await self._restore_workflows()
        await self._restore_replicas()
        self._restore_traffic()

    async def _restore_models(self) -> None:
        stored = list(self._store.documents("models"))
        await asyncio.gather(*(self._try("models", each) for each in stored))

    async def _restore_workflows(self) -> None:
        """Go on as long as some succeed: a workflow may call another that comes later."""
        left = list(self._store.documents("workflows"))
        num_before = -1
        while left and len(left) != num_before:
            num_before = len(left)
            for stored in list(left):
                error = await self._try("workflows", stored)
                if not isinstance(error, _MENDABLE):
                    left.remove(stored)

    async def _try(self, kind: Kind, stored: Stored) -> TorchLoomError | None:
        """Bring one registration back; one that fails is noted, and its error given."""
        try:
            if kind == "models":
                await self._registrar.add_model(stored.text, is_kept=True)
            else:
                await self._registrar.add_workflow(stored.text, is_kept=True)
        except TorchLoomError as error:
            _log.error("%s %s@%s does not serve: %s", kind, stored.name, stored.version, error)
            failed = Failed(
                kind=kind, name=stored.name, version=stored.version, error=error, is_kept=True
            )
            self._registrar.failed.add(failed)
            return error
        return None

    async def _restore_replicas(self) -> None:
        for stored in self._store.documents(REPLICAS):
            if self._registrar.serving_models(stored.name, stored.version):
                replicas = msgspec.json.decode(stored.text, type=ReplicaPolicy)
                await self._orchestrator.scale_model(stored.name, stored.version, replicas=replicas)

    def _restore_traffic(self) -> None:
        for kind, folder in TRAFFIC.items():
            for stored in self._store.documents(folder):
                kept = KeptTraffic.of(stored)
                try:
                    self._registrar.split_traffic(kind, stored.name, kept)
                except TorchLoomError as error:
                    _log.warning("the split of %s %s is left out: %s", kind, stored.name, error)
