"""Startup: the models that are served from the start. One that fails is told, and tried again.

Knows which files of the model store are meant, and nothing of how they are registered.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from itertools import chain, repeat
from typing import Final

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.absent_models import Absence
from torchloom_api.torchserve.archive_url import find_file
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.frontend_settings import FrontendSettings, StartupVersion
from torchloom_api.torchserve.limits import Wish
from torchloom_api.torchserve.registration import Order


_log = logging.getLogger(__name__)

_ALL: Final = "all"
_ENDINGS: Final = (".mar", ".model", ".tar.gz")

#: A status from which on a failure is the server's or the worker's: it may come right by itself.
_OURS: Final = 500

_CONFLICT: Final = 409

#: How long is waited before a model is tried again.
_WAITS_S: Final = (1.0, 2.0, 4.0, 8.0, 16.0, 30.0)


async def load_startup_models(frontend: Frontend) -> None:
    """Register every model that is to be there from the start, side by side.

    Raises InvalidSettings where a snapshot names an archive that is not there.
    """
    orders = list(_orders(frontend))
    for name, versions in (frontend.settings.restored or {}).items():
        for version, said in versions.items():
            if said.is_default:
                frontend.catalog.prefer(name, version)
    async with asyncio.TaskGroup() as group:
        for order in orders:
            group.create_task(_load(frontend, order))


async def retry_startup_models(frontend: Frontend) -> None:
    """Load what has failed at the start again, later each time, until it serves.

    What somebody registers meanwhile is let be, and so is what no waiting can mend.
    """
    async with asyncio.TaskGroup() as group:
        for order, _ in frontend.absent:
            group.create_task(_retry(frontend, order))


async def _retry(frontend: Frontend, order: Order) -> None:
    waits_s = chain(_WAITS_S, repeat(_WAITS_S[-1]))
    while _may_come_right(frontend.absent.find(order)):
        await asyncio.sleep(next(waits_s))
        if frontend.absent.find(order) is not None:  # or somebody has registered it
            await _load(frontend, order)


def _may_come_right(absence: Absence | None) -> bool:
    """Tell whether to try again. After a conflict, too: what is in the way may fail to load."""
    return absence is not None and (absence.status >= _OURS or absence.status == _CONFLICT)


async def _load(frontend: Frontend, order: Order) -> None:
    """Load a model. Whatever fails is told, and fails for this one alone."""
    absent = frontend.absent
    try:
        await frontend.registration.register(order)
    except FrontendError as error:
        _log.error("Failed to load model: %s: %s", order.url, error.message)
        absent.put(order, error.status, error.model)
        if (
            error.status == _CONFLICT
            and error.model is not None
            and frontend.catalog.is_serving(*error.model)
        ):
            absent.drop(order)
    except Exception:  # noqa: BLE001 - its log has it, and the others go on
        _log.exception("Failed to load model: %s", order.url)
        absent.put(order, _OURS)
    else:
        absent.drop(order)


def _orders(frontend: Frontend) -> Iterator[Order]:
    settings = frontend.settings
    workers = frontend.registration.startup_workers()
    if settings.restored is not None:
        for name, versions in settings.restored.items():
            for version, said in versions.items():
                _require(settings, said.file)
                yield _order(said.file, workers, said, name=name, version=version)
        return
    for entry in _entries(settings):
        given, _, file = entry.rpartition("=")
        yield Order(url=file, name=given or None, is_at_startup=True)


def _entries(settings: FrontendSettings) -> Iterator[str]:
    """Give what is to be loaded: names of files, or `NAME=FILE`."""
    if _ALL not in [each.lower() for each in settings.load_models]:
        yield from settings.load_models
        return
    store = settings.model_store
    for path in sorted(store.iterdir()) if store is not None else ():
        is_folder = path.is_dir() and not path.name.startswith(".")
        if is_folder or path.name.endswith(_ENDINGS):
            yield path.name


def _require(settings: FrontendSettings, file: str) -> None:
    store = settings.model_store
    if "://" not in file and (store is None or find_file(store.resolve(), file) is None):
        message = (
            f"The snapshot names the archive {file!r}, which is not in the model store. Put it "
            "there, or start with --no-config-snapshots."
        )
        raise InvalidSettings(message)


def _order(
    file: str,
    workers: int,
    said: StartupVersion,
    *,
    name: str,
    version: str,
) -> Order:
    wish = Wish(
        initial_workers=workers if said.min_workers is None else said.min_workers,
        max_workers=said.max_workers,
        batch_size=said.batch_size,
        max_batch_delay_ms=said.max_batch_delay_ms,
        response_timeout_s=said.response_timeout_s,
        startup_timeout_s=said.startup_timeout_s,
    )
    return Order(url=file, name=name, version=version, wish=wish, is_at_startup=True)
