"""Served models: which of the server's models this API knows, and how it shows them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Literal

import msgspec

from torchloom.deployment import Deployment
from torchloom_api.label import split_label
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.service import Service


#: Kinds that this API serves, and what they do.
_DOES: Final = {"llm": "writes text", "embedder": "turns texts into vectors"}


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model. `created` is when this server began."""

    id: str
    created: int
    owned_by: str = "torchloom"
    object: Literal["model"] = "model"


class ModelCards(msgspec.Struct, frozen=True, kw_only=True):
    """Every model that this API serves."""

    data: Sequence[ModelCard]
    object: Literal["list"] = "list"


def list_cards(service: Service) -> ModelCards:
    """Show each model once, whatever versions it has."""
    deployments = [status.deployment for status in service.orchestrator.models()]
    names = dict.fromkeys(d.name for d in deployments if d.kind in _DOES)
    return ModelCards(data=[_to_card(service, name) for name in names])


def find_card(service: Service, label: str) -> ModelCard:
    """Show one model, or one version of it (`name@version`). Raises UnknownModel."""
    name, version = split_label(label)
    deployment = service.orchestrator.model(name, version).deployment
    if deployment.kind not in _DOES:
        _refuse(label, deployment.kind, "is served by this API")
    return _to_card(service, label)


def pick_model(service: Service, label: str, kind: Literal["llm", "embedder"]) -> Deployment:
    """Give the version that this request goes to.

    Raises UnknownModel, and InvalidRequest for a model of another kind.
    """
    deployment = service.orchestrator.pick_model(*split_label(label))
    if deployment.kind != kind:
        _refuse(label, deployment.kind, _DOES[kind])
    return deployment


def _refuse(label: str, kind: str, wanted: str) -> None:
    message = f"The model {label!r} is of kind {kind!r}: it is none that {wanted}."
    raise InvalidRequest(message, param="model", code="unsupported_model")


def _to_card(service: Service, label: str) -> ModelCard:
    return ModelCard(id=label, created=int(service.created_at))
