"""Served models: what `model` may name in this API, and how it is shown.

Models of some kinds, and workflows that have a `chat:` section. A language model goes before a
workflow of the same name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Final, Literal

import msgspec

from torchloom.deployment import Deployment
from torchloom.errors import UnknownModel, UnknownWorkflow, nearest
from torchloom.graph import Graph
from torchloom_api.label import split_label
from torchloom_api.openai.adapter import adapter_labels, adapter_params, split_adapter
from torchloom_api.openai.error import InvalidRequest
from torchloom_api.service import SERVING, Service


Kind = Literal["llm", "embedder", "diffusion"]

#: Kinds that this API serves, and what they do.
_DOES: Final[Mapping[str, str]] = {
    "llm": "writes text",
    "embedder": "turns texts into vectors",
    "diffusion": "draws pictures",
}


class ModelCard(msgspec.Struct, frozen=True, kw_only=True):
    """A model, an adapter of `parent`, or a workflow. `created` is when this server began.

    `name` and `ready` are for clients of KServe, which ask the same route.
    """

    id: str
    name: str
    ready: bool
    created: int
    parent: str | msgspec.UnsetType = msgspec.UNSET
    owned_by: str = "torchloom"
    object: Literal["model"] = "model"


class ModelCards(msgspec.Struct, frozen=True, kw_only=True):
    """Every model and workflow that this API serves, and (`models`, for KServe) every model."""

    data: Sequence[ModelCard]
    models: Sequence[str]
    object: Literal["list"] = "list"


def list_cards(service: Service) -> ModelCards:
    """Show each model, adapter and workflow once, whatever versions it has."""
    cards = [_to_card(service, name) for name in _served_names(service)]
    cards += [_to_card(service, label, parent) for label, parent in adapter_labels(service)]
    names = [status.deployment.name for status in service.orchestrator.models()]
    return ModelCards(data=cards, models=sorted(set(names)))


def find_card(service: Service, label: str) -> ModelCard:
    """Show one, or one version of it (`name@version`), of any kind. Raises UnknownModel."""
    model, adapter = split_adapter(label)
    if adapter is not None:
        adapter_params(service, pick_model(service, label, "llm"), label)
        return _to_card(service, label, model)
    name, version = split_label(label)
    try:
        service.orchestrator.model(name, version)
    except UnknownModel as error:
        wrong = _to_unknown(service, label, error)
    else:
        return _to_card(service, label)
    _find_chat(service, label, service.orchestrator.workflow, wrong)
    return _to_card(service, label)


def pick_model(service: Service, label: str, kind: Kind) -> Deployment:
    """Give the version that this request goes to.

    Raises UnknownModel, and InvalidRequest for a model of another kind. An adapter in the label is
    not looked for: see `adapter_params`.
    """
    if kind == "llm":
        label, _ = split_adapter(label)
    try:
        deployment = service.orchestrator.pick_model(*split_label(label))
    except UnknownModel as error:
        raise _to_unknown(service, label, error) from None
    if deployment.kind != kind:
        raise _to_refusal(label, deployment.kind, _DOES[kind])
    return deployment


def pick_writer(service: Service, label: str) -> Deployment | Graph:
    """Give the version of the language model, or of the workflow, that this request goes to.

    Raises UnknownModel, and InvalidRequest for what answers no chat.
    """
    try:
        return pick_model(service, label, "llm")
    except (UnknownModel, InvalidRequest) as error:
        wrong = error
    return _find_chat(service, label, service.orchestrator.pick_workflow, wrong)


def _model_names(service: Service) -> list[str]:
    deployments = [status.deployment for status in service.orchestrator.models()]
    return [deployment.name for deployment in deployments if deployment.kind in _DOES]


def _chat_names(service: Service) -> list[str]:
    return [graph.name for graph in service.orchestrator.workflows() if graph.chat]


def _served_names(service: Service) -> list[str]:
    return list(dict.fromkeys([*_model_names(service), *_chat_names(service)]))


def _to_unknown(service: Service, label: str, error: UnknownModel) -> UnknownModel | InvalidRequest:
    """Say why there is no such model: it lacks the version, is a workflow, or is misspelled."""
    name, _ = split_label(label)
    if name in _model_names(service):
        return error
    if name in _chat_names(service):
        message = f"{label!r} is a workflow: it answers chat completions and responses alone."
        return InvalidRequest(message, param="model", code="unsupported_model")
    return UnknownModel(f"There is no model {name!r}.{nearest(name, _served_names(service))}")


def _to_refusal(label: str, kind: str, wanted: str) -> InvalidRequest:
    message = f"The model {label!r} is of kind {kind!r}: it is none that {wanted}."
    return InvalidRequest(message, param="model", code="unsupported_model")


def _find_chat(
    service: Service,
    label: str,
    find: Callable[[str, int | None], Graph],
    wrong: UnknownModel | InvalidRequest,
) -> Graph:
    """Give the workflow of this label; where there is none, what is wrong is raised."""
    name, version = split_label(label)
    try:
        graph = find(name, version)
    except UnknownWorkflow as error:
        if any(graph.name == name for graph in service.orchestrator.workflows()):
            wrong = UnknownModel(error.message)
        raise wrong from None
    if not graph.chat:
        message = (
            f"The workflow {label!r} has no `chat:` section, which says how messages become its "
            "inputs: it can be run, but not chatted with."
        )
        raise InvalidRequest(message, param="model", code="unsupported_model")
    return graph


def _to_card(
    service: Service, label: str, parent: str | msgspec.UnsetType = msgspec.UNSET
) -> ModelCard:
    return ModelCard(
        id=label,
        name=label,
        ready=_is_ready(service, label if isinstance(parent, msgspec.UnsetType) else parent),
        created=int(service.created_at),
        parent=parent,
    )


def _is_ready(service: Service, label: str) -> bool:
    """Tell whether it answers: a workflow does where the server does."""
    is_serving = service.is_started and not service.orchestrator.is_draining
    name, version = split_label(label)
    try:
        return is_serving and service.orchestrator.model(name, version).state in SERVING
    except UnknownModel:
        return is_serving
