"""Change: what is done to a model that is registered. Knows no path and no query."""

from __future__ import annotations

import logging
from dataclasses import replace
from typing import Final

from torchloom.errors import Conflict, TorchLoomError
from torchloom.policy import ReplicaPolicy
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, bad_request, internal
from torchloom_api.torchserve.limits import MAX_WORKERS
from torchloom_api.torchserve.worker_place import count_each


_log = logging.getLogger(__name__)

#: A worker that failed to load for want of memory.
_OUT_OF_MEMORY: Final = 507


def check_scale(least: int, most: int | None) -> tuple[int, int]:
    """Give the least and the most workers that are asked for. Raises FrontendError."""
    top = least if most is None else most
    if top < least:
        raise bad_request("max_worker cannot be less than min_worker.")
    if not 0 <= least <= top <= MAX_WORKERS:
        raise bad_request(f"min_worker and max_worker are from 0 to {MAX_WORKERS}.")
    return least, top


async def scale(frontend: Frontend, served: Served, least: int, most: int, said: str) -> None:
    """Bring a model to a number of workers; returns when they are there, or gone.

    `said`: the version as the path has it. Raises FrontendError; the model is as it was then.
    """
    status = frontend.catalog.status(served)
    num_devices = 1 if status is None else len(status.deployment.devices)
    limits = replace(served.limits, min_workers=least, max_workers=most)
    policy = ReplicaPolicy(min=count_each(least, num_devices), max=max(most, 1))
    try:
        if served.is_native:
            await frontend.service.registrar.scale_model(served.name, served.number, policy)
        else:
            orchestrator = frontend.service.orchestrator
            await orchestrator.scale_model(served.name, served.number, replicas=policy)
    except TorchLoomError as error:
        _log.error("%s %s cannot be scaled: %s", served.name, served.version, error.message)
        message = f"Failed to start workers for model {served.name} version: {said}"
        raise internal(message, error.status if error.status == _OUT_OF_MEMORY else 500) from error
    served.limits = limits
    frontend.catalog.worker_ids(served, policy.min * num_devices)
    frontend.catalog.on_change()


async def unregister(frontend: Frontend, served: Served) -> None:
    """Let a model finish what it has, then remove it, and its file if that was fetched.

    Raises FrontendError: other versions are there, and this is the default one; or it is needed.
    """
    catalog = frontend.catalog
    if catalog.is_default(served) and len(catalog.versions(served.name)) > 1:
        message = f"Cannot remove default version for model {served.name}"
        raise FrontendError(403, "InvalidModelVersionException", message)
    grace_s = float(frontend.settings.unregister_model_timeout_s)
    try:
        await frontend.registration.remove(served, grace_s=grace_s)
    except Conflict as error:
        raise FrontendError(409, "ConflictStatusException", error.message) from error
    catalog.on_change()
