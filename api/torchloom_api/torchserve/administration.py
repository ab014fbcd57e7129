"""Administration: what is asked of the management port, whichever way it is asked.

Each gives a document, or a sentence with its status. Knows no path and no message.
"""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.change import check_scale, scale, unregister
from torchloom_api.torchserve.describing import (
    Document,
    Told,
    describe,
    describe_customized,
)
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.listing import to_page
from torchloom_api.torchserve.parameters import Parameters
from torchloom_api.torchserve.registration import Order


_UPDATING: Final = "Processing worker updates..."

#: Scalings that nobody waits for.
_scaling: set[asyncio.Task[None]] = set()


@dataclass(frozen=True, slots=True)
class Said:
    """What is said of what was done; the status is HTTP's."""

    text: str
    status: int = 200


def list_models(frontend: Frontend, parameters: Parameters) -> Document:
    """List the default version of each name, a page at a time; functions of workflows are none."""
    defaults = [frontend.catalog.find(name) for name in frontend.catalog.names()]
    models = [each for each in defaults if not each.is_function]
    shown = [{"modelName": each.name, "modelUrl": each.url} for each in models]
    return to_page(parameters, "models", shown)


async def register_model(frontend: Frontend, parameters: Parameters) -> Said:
    """Register an archive. Raises FrontendError, with nothing left behind."""
    order = Order.of(parameters)
    served = await frontend.registration.register(order)
    count = served.limits.min_workers
    if count and not order.is_synchronous:
        return Said(_UPDATING, 202)
    text = (
        f'Model "{served.name}" Version: {served.version} registered with {count} initial workers'
    )
    hint = ". Use scale workers API to add workers for the model."
    return Said(text if count else text + hint)


def describe_models(frontend: Frontend, name: str, version: str | None) -> Sequence[Document]:
    """Describe one version, the default one, or `all`. Raises FrontendError: there is none."""
    return [describe(frontend, each) for each in _choose(frontend, name, version)]


async def describe_customized_models(
    frontend: Frontend,
    name: str,
    version: str | None,
    *,
    headers: Mapping[str, str],
    request_id: str,
) -> Sequence[Told]:
    """Describe those as their handlers do, too. Raises FrontendError."""
    return [
        await describe_customized(frontend, each, headers=headers, request_id=request_id)
        for each in _choose(frontend, name, version)
    ]


def _choose(frontend: Frontend, name: str, version: str | None) -> Sequence[Served]:
    catalog = frontend.catalog
    return catalog.versions(name) if version == "all" else [catalog.find(name, version)]


async def scale_model(
    frontend: Frontend, name: str, version: str | None, parameters: Parameters
) -> Said:
    """Change the number of workers. Raises FrontendError; the model is as it was then."""
    served = frontend.catalog.find(name, version)
    least = parameters.number("min_worker")
    least, most = check_scale(1 if least is None else least, parameters.number("max_worker"))
    scaling = asyncio.get_running_loop().create_task(
        scale(frontend, served, least, most, version or "null")
    )
    _scaling.add(scaling)
    scaling.add_done_callback(_end_scaling)
    if not parameters.flag("synchronous", default=False):
        return Said(_UPDATING, 202)
    await asyncio.shield(scaling)
    if not has_workers(frontend, served, served.limits.min_workers):
        return Said("Workers scaling in progress...", 206)
    which = f", version: {version}" if version else ""
    return Said(f"Workers scaled to {least} for model: {name}{which}")


def _end_scaling(scaling: asyncio.Task[None]) -> None:
    _scaling.discard(scaling)
    if not scaling.cancelled():
        scaling.exception()  # who waits for it is told; else the log has it


def has_workers(frontend: Frontend, served: Served, count: int) -> bool:
    """Tell whether so many of its workers are ready."""
    status = frontend.catalog.status(served)
    ready = [each for each in status.replicas if each.state == "ready"] if status else []
    return len(ready) >= count


def set_default(frontend: Frontend, name: str, version: str) -> Said:
    """Let requests that name no version go to one. Raises FrontendError: there is none."""
    catalog = frontend.catalog
    versions = {each.version: each for each in catalog.versions(name)}
    if version not in versions:
        message = f"Model version {version} does not exist for model {name}"
        raise FrontendError(404, "ModelVersionNotFoundException", message)
    catalog.set_default(versions[version])
    catalog.on_change()
    return Said(f'Default version successfully updated for model "{name}" to "{version}"')


async def unregister_model(frontend: Frontend, name: str, version: str | None) -> Said:
    """Remove a version, or the only one that there is. Raises FrontendError."""
    await unregister(frontend, frontend.catalog.find(name, version))
    return Said(f'Model "{name}" unregistered')
