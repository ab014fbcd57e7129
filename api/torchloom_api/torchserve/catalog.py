"""Catalog: models as TorchServe names them, with versions of any text, and a default one each.

Each is a model of the one registry, where a version is a number. Handlers that were registered
there, by the native API, are in the catalog too. Knows no HTTP.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torchloom.errors import UnknownModel
from torchloom.model_status import ModelStatus
from torchloom.orchestrator import Orchestrator
from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    model_not_found,
    version_not_found,
)
from torchloom_api.torchserve.limits import Limits
from torchloom_models.archive.llm.language_model import LanguageModel


#: The kind of models whose requests TorchServe's routes know how to give on.
HANDLER: Final = "handler"

#: `1`, `1.0` and `2.0.0` have the number that they say; any other version gets one that is free.
_WHOLE: Final = re.compile(r"0*([1-9][0-9]{0,8})(\.0+)*")


@dataclass(slots=True, kw_only=True, eq=False)
class Served:
    """One version of a model. `number` is its version in the registry.

    `language`: what its archive says of the language model that it is, of kind `llm` then, and not
    `handler`. `is_native`: the native API has registered it. `fetched`: a file to remove with it.
    `workflow` names the one whose node it is, `is_function` that it is a function of that.
    """

    name: str
    version: str
    number: int
    url: str
    limits: Limits = field(default_factory=Limits)
    runtime: str = "python"
    language: LanguageModel | None = None
    is_native: bool = False
    is_at_startup: bool = False
    is_loading: bool = False
    fetched: Path | None = None
    workflow: str | None = None
    is_function: bool = False
    worker_ids: list[int] = field(default_factory=list)


class Catalog:
    """Name → version → Served. The first version of a name is its default until told otherwise.

    `first_worker_id`: workers have numbers, which count up from there.
    """

    def __init__(self, orchestrator: Orchestrator, *, first_worker_id: int = 9000) -> None:
        self._orchestrator = orchestrator
        self._models: dict[str, dict[str, Served]] = {}
        self._defaults: dict[str, str] = {}
        #: Versions that are to be the default of their name as soon as they serve.
        self._preferred: dict[str, str] = {}
        self._next_worker_id = first_worker_id
        #: Is told after each change that a snapshot should hold.
        self.on_change: Callable[[], None] = lambda: None
        #: Is told of each version that has loaded, and serves now.
        self.on_serve: Callable[[Served], None] = lambda _: None
        #: Is told of each version that is dropped, wherever it was removed.
        self.on_drop: Callable[[Served], None] = lambda _: None

    def names(self) -> list[str]:
        """List the names."""
        self._adopt()
        return sorted(self._models)

    def find(self, name: str, version: str | None = None) -> Served:
        """Give a version, or the default one. Raises FrontendError: there is none."""
        found = self._find(name, version)
        if found is None:
            self._adopt()
            found = self._find(name, version)
        if found is not None:
            return found
        if name not in self._models:
            raise model_not_found(name)
        raise version_not_found(name, version or "")

    def has(self, name: str) -> bool:
        """Tell whether there is a model of this name."""
        self._adopt()
        return name in self._models

    def versions(self, name: str) -> Sequence[Served]:
        """Give every version of a name. Raises FrontendError: there is none."""
        self.find(name)
        return tuple(self._models[name].values())

    def served(self) -> Sequence[Served]:
        """Give everything, by name."""
        return [each for name in self.names() for each in self._models[name].values()]

    def is_default(self, served: Served) -> bool:
        """Tell whether requests that name no version go there."""
        return self._defaults.get(served.name) == served.version

    def put(self, served: Served) -> None:
        """Take a version in. Raises FrontendError where there is one of its name."""
        self._adopt()
        versions = self._models.setdefault(served.name, {})
        if served.version in versions:
            message = (
                f"Model version {served.version} is already registered for model {served.name}"
            )
            raise FrontendError(409, "ConflictStatusException", message)
        versions[served.version] = served
        self._defaults.setdefault(served.name, served.version)

    def drop(self, served: Served) -> None:
        """Forget a version; where it was the default, the oldest that is left is."""
        versions = self._models.get(served.name, {})
        if versions.get(served.version) is not served:
            return
        del versions[served.version]
        self.on_drop(served)
        if not versions:
            del self._models[served.name], self._defaults[served.name]
        elif self.is_default(served):
            self._defaults[served.name] = next(iter(versions))

    def settle(self, served: Served) -> None:
        """Take note that a version has loaded: from now on it serves."""
        served.is_loading = False
        if self._preferred.get(served.name) == served.version:
            self.set_default(served)
        else:
            self.tell_default(served.name)
        self.on_serve(served)

    def is_serving(self, name: str, version: str) -> bool:
        """Tell whether a version is there, and has loaded."""
        self._adopt()
        found = self._find(name, version)
        return found is not None and not found.is_loading

    def prefer(self, name: str, version: str) -> None:
        """Let a version be the default as soon as it serves, unless another is chosen before."""
        if self.is_serving(name, version):
            self.set_default(self.find(name, version))
        else:
            self._preferred[name] = version

    def default_among(self, name: str, versions: Collection[str]) -> str | None:
        """Give the one that is to be the default; one that does not serve yet may be."""
        preferred = self._preferred.get(name)
        return preferred if preferred in versions else self._defaults.get(name)

    def set_default(self, served: Served) -> None:
        """Let requests that name no version go there, those of the registry's own routes too."""
        self._defaults[served.name] = served.version
        self._preferred.pop(served.name, None)
        self.tell_default(served.name)

    def tell_default(self, name: str) -> None:
        """Let the registry send requests that name no version where TorchServe does."""
        default = self._models.get(name, {}).get(self._defaults.get(name, ""))
        if default is not None and not default.is_native and self.status(default) is not None:
            weights = {default.number: 1.0}
            shadow = self._orchestrator.model_shadow(name, beside=weights)
            self._orchestrator.set_model_traffic(name, weights, shadow)

    def status(self, served: Served) -> ModelStatus | None:
        """Give its state in the registry; None while it is not there."""
        try:
            return self._orchestrator.model(served.name, served.number)
        except UnknownModel:
            return None

    def free_number(self, name: str, version: str) -> int:
        """Give a version a number in the registry: the one that it says, or the next free one."""
        used = {each.number for each in self._models.get(name, {}).values()}
        used |= {
            status.deployment.version
            for status in self._orchestrator.models()
            if status.deployment.name == name
        }
        match = _WHOLE.fullmatch(version)
        said = int(match[1]) if match else None
        return said if said is not None and said not in used else max(used, default=0) + 1

    def worker_ids(self, served: Served, count: int) -> Sequence[int]:
        """Give the numbers of its workers: each place keeps its own, also when a worker is new.

        A number is never given again. While a version loads, it has as many as it is to have.
        """
        if not served.is_loading:
            del served.worker_ids[count:]
        while len(served.worker_ids) < count:
            served.worker_ids.append(self._next_worker_id)
            self._next_worker_id += 1
        return tuple(served.worker_ids[:count])

    def _find(self, name: str, version: str | None) -> Served | None:
        chosen = self._defaults.get(name) if version is None else version
        return None if chosen is None else self._models.get(name, {}).get(chosen)

    def _adopt(self) -> None:
        """Take in the handlers that are registered elsewhere, and drop those that are gone."""
        there = {
            (status.deployment.name, status.deployment.version): status
            for status in self._orchestrator.models()
        }
        for versions in list(self._models.values()):
            for served in list(versions.values()):
                if not served.is_loading and (served.name, served.number) not in there:
                    self.drop(served)
        known = {(e.name, e.number) for v in self._models.values() for e in v.values()}
        for (name, number), status in there.items():
            if (name, number) not in known and status.deployment.kind == HANDLER:
                self._take(name, number, status)

    def _take(self, name: str, number: int, status: ModelStatus) -> None:
        deployment = status.deployment
        batching = deployment.batching
        version = str(deployment.config.get("model_version") or number)
        versions = self._models.setdefault(name, {})
        if version in versions:
            version = f"{version}@{number}"
        versions[version] = Served(
            name=name,
            version=version,
            number=number,
            url=str(deployment.config.get("source", "")),
            limits=Limits(
                min_workers=deployment.replicas.min,
                max_workers=deployment.replicas.max,
                batch_size=batching.max_size or 1,
                max_batch_delay_ms=round((batching.max_wait_s or 0.0) * 1000),
                job_queue_size=deployment.queue.max_size,
            ),
            is_native=True,
        )
        self._defaults.setdefault(name, version)
