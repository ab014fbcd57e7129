"""Adapters as models of this API: `model:adapter`, or `model@version:adapter`.

An adapter's own name would do in place of it, were it the only one of that name: two models may
have adapters called alike, and a model or a workflow may be. Neither ':' nor '@' is in any name.
"""

from __future__ import annotations

from collections.abc import Iterator

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.errors import UnknownModel, nearest
from torchloom_api.adapter_shelf import adapters_of
from torchloom_api.service import Service


def split_adapter(label: str) -> tuple[str, str | None]:
    """Give the model's own label, and the adapter's name, if there is one."""
    model, colon, adapter = label.partition(":")
    return model, adapter if colon else None


def adapter_params(service: Service, deployment: Deployment, label: str) -> Values:
    """Give the parameter that asks for a label's adapter; nothing where it names none.

    Raises UnknownModel, with the nearest name, where the model has no such adapter.
    """
    _, adapter = split_adapter(label)
    if adapter is None:
        return {}
    status = service.orchestrator.model(deployment.name, deployment.version)
    known = [entry.name for entry in adapters_of(status)]
    if adapter not in known:
        hint = nearest(adapter, known) or " It has none."
        raise UnknownModel(f"Model {deployment.label!r} has no adapter {adapter!r}.{hint}")
    return {"adapter": adapter}


def adapter_labels(service: Service) -> Iterator[tuple[str, str]]:
    """Give the label of each adapter, and the name of the model that has it, once each."""
    pairs = {
        (f"{status.deployment.name}:{entry.name}", status.deployment.name): None
        for status in service.orchestrator.models()
        for entry in adapters_of(status)
    }
    yield from pairs
