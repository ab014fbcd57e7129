"""IndexJob: work on one index of a file, with the embedder that the file declares, on this machine.

Loads the embedder in a worker, as a server does, and asks it as a server would.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Protocol, Self, TypeVar

import numpy as np

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import nearest
from torchloom.orchestrator import Orchestrator
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.shelf import Shelf
from torchloom_api.settings import Settings
from torchloom_models.index.builder import BuildReport, build_index
from torchloom_models.index.condition import parse_filter
from torchloom_models.index.plan import IndexPlan
from torchloom_models.index.store import Query, open_store


T = TypeVar("T")


class Show(Protocol):
    """Is told what goes on, and how much of how much is done, where known."""

    def __call__(self, doing: str, done: float | None, total: float | None = 1.0) -> None:
        """Show it."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexJob:
    """An index, and what embeds for it."""

    plan: IndexPlan
    base: Path
    embedder: Deployment | None

    @classmethod
    def find(
        cls, file: Path, index: str | None, others: Sequence[Path], *, embedder: str | None = None
    ) -> Self:
        """Find the index in the files: the one that is named, or the only one there is.

        Raises InvalidWorkflow with every fault of the files, and Failure where there is no choice.
        """
        shelf = Shelf.read([file, *others])
        shelf.require_sound()
        chosen = _choose(shelf, file, "index", index)
        plan = IndexPlan.from_config(chosen.config)
        wanted = embedder or plan.embedder
        embedders = [model for model in shelf.models if model.kind == "embedder"]
        has_one = wanted is not None or len(embedders) == 1
        found = _choose(shelf, file, "embedder", wanted) if has_one else None
        return cls(plan=plan, base=file.parent.resolve(), embedder=found)

    @property
    def name(self) -> str:
        """The index's name."""
        return self.plan.location.name

    @property
    def place(self) -> str:
        """Where it is: a folder, or a database's URL."""
        return self.plan.location.source

    def build(self, places: Sequence[str], show: Show) -> BuildReport:
        """Build it from `places` (relative to here), or else from what its file names."""
        here = [str(Path(place).absolute()) for place in places]
        embedder = self._require_embedder()
        documents = self.plan.to_documents(self.base, here, embedder=embedder.config)
        store = open_store(self.plan.location)

        def work(embed: Callable[[list[str]], np.ndarray]) -> BuildReport:
            return build_index(
                documents,
                embed,
                store,
                lambda done, total: show(f"embedding, {done} of {total} passages", done, total),
                embedder=embedder.name,
                metric=self.plan.metric or "cosine",
            )

        try:
            return self._with_embedder(work, show)
        finally:
            store.close()

    def describe(self) -> dict[str, object]:
        """Tell what it holds. Raises ModelLoadError where it is absent or damaged."""
        store = open_store(self.plan.location)
        try:
            facts = store.facts()
            return {
                "index": self.name,
                "place": self.place,
                "passages": store.count(),
                "dimension": facts.dimension,
                "metric": facts.metric,
                "embedder": facts.embedder,
            }
        finally:
            store.close()

    def search(
        self, text: str, *, top_k: int, conditions: Mapping[str, object]
    ) -> list[dict[str, object]]:
        """Find the passages nearest to a text, best first."""
        parsed = parse_filter(conditions)
        store = open_store(self.plan.location)
        try:
            store.facts()
            (vector,) = self._with_embedder(lambda embed: embed([text]), _show_nothing)
            (matches,) = store.search([Query(vector, top_k, parsed)])
        finally:
            store.close()
        return [
            {"id": m.id, "score": m.score, "text": m.text, "metadata": dict(m.metadata)}
            for m in matches
        ]

    def _require_embedder(self) -> Deployment:
        if self.embedder is None:
            message = (
                f"Index {self.name!r}: nothing says which model embeds. Write `embedder: NAME` in "
                "the file, or name it with --embedder."
            )
            raise Failure(message)
        return self.embedder

    def _with_embedder(
        self, work: Callable[[Callable[[list[str]], np.ndarray]], T], show: Show
    ) -> T:
        """Do blocking work in a thread, with a function that embeds texts: [texts, dimension]."""
        deployment = _with_artefacts(self._require_embedder())

        async def run() -> T:
            loop = asyncio.get_running_loop()
            async with Orchestrator() as orchestrator:
                await orchestrator.add_model(
                    deployment, on_progress=lambda _, doing, fraction: show(doing, fraction)
                )

                def embed(texts: list[str]) -> np.ndarray:
                    call: Awaitable[Values] = orchestrator.predict(
                        deployment.name, {"texts": texts}, {}
                    )
                    waiting = asyncio.run_coroutine_threadsafe(_awaited(call), loop)
                    return np.asarray(waiting.result()["embeddings"], dtype=np.float32)

                return await asyncio.to_thread(work, embed)

        return asyncio.run(run())


async def _awaited(call: Awaitable[Values]) -> Values:
    return await call


def _show_nothing(doing: str, done: float | None, total: float | None = 1.0) -> None:
    """Show nothing: searching has a spinner of its own."""


def _with_artefacts(deployment: Deployment) -> Deployment:
    """Keep compiled artefacts where `torchloom serve` keeps its own: each helps the other."""
    folder = Settings.load(environment=os.environ).artefacts_folder
    return replace(deployment, config={**deployment.config, "artefacts": str(folder)})


def _choose(shelf: Shelf, file: Path, kind: str, name: str | None) -> Deployment:
    there = {model.name: model for model in shelf.models if model.kind == kind}
    if name is None and len(there) == 1:
        return next(iter(there.values()))
    if name is not None and name in there:
        return there[name]
    if name is None:
        known = f" of: {', '.join(there)}" if there else ""
        message = f"{file} declares {len(there) or 'no'} models of kind {kind!r}; name one{known}."
    else:
        message = f"{file} declares no {kind} {name!r}.{nearest(name, there)}"
    raise Failure(message)
