"""What this server and its models tell of themselves in v2, over HTTP and gRPC alike."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from typing import Final

import msgspec

from torchloom.errors import NotServing
from torchloom.model_status import ModelStatus
from torchloom_api.kserve.call import to_version
from torchloom_api.kserve.interface import TensorSpec
from torchloom_api.service import SERVING, Service


#: Extensions of the protocol that are served, as Triton names them.
EXTENSIONS: Final = ("binary_tensor_data", "parameters")


class ServerMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """This server."""

    name: str
    version: str
    extensions: Sequence[str]


class ModelMetadata(msgspec.Struct, frozen=True, kw_only=True):
    """A model and its tensors."""

    name: str
    versions: Sequence[str]
    platform: str
    inputs: Sequence[TensorSpec]
    outputs: Sequence[TensorSpec]


def describe_server() -> ServerMetadata:
    """Tell what this server is."""
    return ServerMetadata(name="torchloom", version=version("torchloom"), extensions=EXTENSIONS)


def describe_model(service: Service, name: str, version_text: str = "") -> ModelMetadata:
    """Tell a model's tensors; without a version the newest one's. Raises UnknownModel."""
    deployment = find_model(service, name, version_text).deployment
    same = [status.deployment for status in service.orchestrator.models()]
    versions = sorted(each.version for each in same if each.name == name)
    return ModelMetadata(
        name=name,
        versions=[str(each) for each in versions],
        platform=f"torchloom_{deployment.kind}",
        inputs=service.interfaces.inputs(deployment),
        outputs=service.interfaces.outputs(deployment),
    )


def find_model(service: Service, name: str, version_text: str = "") -> ModelStatus:
    """Find a model, or one version of it. Raises UnknownModel."""
    return service.orchestrator.model(name, to_version(name, version_text))


def is_model_ready(service: Service, name: str, version_text: str = "") -> bool:
    """Tell whether a model answers. Raises UnknownModel."""
    state = find_model(service, name, version_text).state
    return service.is_started and not service.orchestrator.is_draining and state in SERVING


def require_model_ready(service: Service, name: str, version_text: str = "") -> None:
    """Refuse to be sent work for a model that does not answer. Raises UnknownModel, NotServing."""
    if not is_model_ready(service, name, version_text):
        state = find_model(service, name, version_text).state
        raise NotServing(f"Model {name!r} is not ready: {state}.", retry_after_s=1.0)


def is_server_ready(service: Service) -> bool:
    """Tell whether work should be sent here."""
    try:
        service.require_started()
        service.require_ready()
    except NotServing:
        return False
    return True
