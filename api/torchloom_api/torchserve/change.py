"""Change: what is done to a model that is registered. Knows no path and no query."""

from __future__ import annotations

import logging
from dataclasses import replace

from torchloom.errors import Conflict, TorchLoomError
from torchloom.policy import ReplicaPolicy
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import (
    FrontendError,
    bad_request,
    workers_not_started,
)
from torchloom_api.torchserve.limits import MAX_WORKERS
from torchloom_api.torchserve.worker_place import bounds_each


_log = logging.getLogger(__name__)


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

    Where workers are scaled by load, the numbers are bounds, and what is within them stays. `said`:
    the version as the path has it. Raises FrontendError; the model is as it was then.
    """
    status = frontend.catalog.status(served)
    num_devices = 1 if status is None else len(status.deployment.devices)
    limits = replace(served.limits, min_workers=least, max_workers=most)
    is_scaled = frontend.settings.autoscale
    lower, upper = bounds_each(limits, num_devices, is_scaled=is_scaled)
    policy = ReplicaPolicy() if status is None else status.policy
    policy = replace(policy, min=lower, max=upper)
    try:
        if served.is_native:
            await frontend.service.registrar.scale_model(served.name, served.number, policy)
        else:
            orchestrator = frontend.service.orchestrator
            await orchestrator.scale_model(served.name, served.number, replicas=policy)
    except TorchLoomError as error:
        _log.error("%s %s cannot be scaled: %s", served.name, served.version, error.message)
        raise workers_not_started(served.name, said, error) from error
    served.limits = limits
    there = frontend.catalog.status(served)
    frontend.catalog.worker_ids(served, 0 if there is None else len(there.replicas))
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
