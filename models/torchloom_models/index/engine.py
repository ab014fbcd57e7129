"""The engine of kind `index`: searches a store for a batch at once. Knows no kind of store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import cast

import numpy as np

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import BatchEngine, Values, Work
from torchloom.errors import (
    DeviceUnavailable,
    InvalidInput,
    ModelLoadError,
    TaskFailed,
    nearest,
)
from torchloom_models.index.condition import parse_filter
from torchloom_models.index.passage import Facts, Match, to_vectors
from torchloom_models.index.plan import IndexPlan
from torchloom_models.index.store import MAX_TOP_K, Query, Store, open_store


_DEFAULT_TOP_K = 4
_DEFAULT_MAX_TASKS = 64
_INPUTS = ("vector", "top_k", "filter")


def open_index(config: Mapping[str, object], device: Device, report: Report) -> BatchEngine:
    """Open an index and check that it is what the model file says. An EngineFactory.

    Raises ModelLoadError where it is absent, damaged, or was built otherwise than the file says.
    """
    plan = IndexPlan.from_config(config)
    name = plan.location.name
    if device.kind not in {"auto", "cpu"}:
        raise DeviceUnavailable(
            f"Index {name!r}: an index is searched on the CPU, not on {device}."
        )
    report(f"Opening the index {name}", None)
    store = open_store(plan.location)
    try:
        facts = store.facts()
        _check_agreement(plan, facts)
        _check_filled(plan, store)
        store.search([Query(_probe(facts), 1)])
    except BaseException:
        store.close()
        raise
    search = _Search(name, store, facts)
    max_tasks = config.get("max_size", _DEFAULT_MAX_TASKS)
    return BatchEngine(
        search.forward,
        max_tasks=cast("int", max_tasks),
        validate=search.validate,
        close=store.close,
    )


class _Search:
    """Tasks in, documents out."""

    def __init__(self, name: str, store: Store, facts: Facts) -> None:
        self._name = name
        self._store = store
        self._facts = facts

    def validate(self, work: Work) -> None:
        """Refuse, before it joins a batch, a task that cannot be searched for."""
        _to_query(work, self._facts)

    def forward(self, batch: Sequence[Work]) -> list[Values]:
        """Search for all tasks at once."""
        facts = self._store.facts()
        if facts != self._facts:
            message = (
                f"Index {self._name!r} was built anew with {_describe(facts)}; it was loaded with "
                f"{_describe(self._facts)}. Load the model again."
            )
            raise TaskFailed(message)
        answers = self._store.search([_to_query(work, facts) for work in batch])
        return [{"documents": [_to_document(match) for match in found]} for found in answers]


def _check_agreement(plan: IndexPlan, facts: Facts) -> None:
    location = plan.location
    for what, wanted, found in (
        ("embedder", plan.embedder, facts.embedder),
        ("metric", plan.metric, facts.metric),
    ):
        if wanted is not None and found is not None and wanted != found:
            message = (
                f"Index {location.name!r}: it was built with the {what} {found!r}, but the model "
                f"file says {wanted!r}. Change the file, or build it again. {location.remedy}"
            )
            raise ModelLoadError(message)


def _check_filled(plan: IndexPlan, store: Store) -> None:
    if store.count() == 0:
        message = f"Index {plan.location.name!r} is empty. {plan.location.remedy}"
        raise ModelLoadError(message)


def _probe(facts: Facts) -> np.ndarray:
    return np.ones(facts.dimension, np.float32)


def _describe(facts: Facts) -> str:
    embedder = facts.embedder or "an unknown embedder"
    return f"{embedder} ({facts.dimension} numbers, {facts.metric})"


def _to_query(work: Work, facts: Facts) -> Query:
    inputs = work.inputs
    for name in inputs:
        if name == "text":
            message = (
                "An index is searched by `vector`, not by `text`. Put an embedder's node before "
                "it, and write: vector: {{ that_node.embedding }}."
            )
            raise InvalidInput(message)
        if name not in _INPUTS:
            raise InvalidInput(f"An index has no input {name!r}.{nearest(name, _INPUTS)}")
    vector = inputs.get("vector")
    if vector is None:
        raise InvalidInput(
            f"vector: missing; {facts.dimension} numbers, as an embedder gives them."
        )
    vectors = to_vectors([vector], facts=facts, of="vector")
    return Query(vectors[0], _top_k(inputs.get("top_k")), parse_filter(inputs.get("filter")))


def _top_k(value: object) -> int:
    if value is None:
        return _DEFAULT_TOP_K
    is_whole = isinstance(value, int) and not isinstance(value, bool)
    if not is_whole or not 1 <= cast("int", value) <= MAX_TOP_K:
        raise InvalidInput(f"top_k: a whole number from 1 to {MAX_TOP_K}, not {value!r}.")
    return cast("int", value)


def _to_document(match: Match) -> dict[str, object]:
    return {
        "id": match.id,
        "text": match.text,
        "score": match.score,
        "metadata": dict(match.metadata),
    }
