"""SnapshotFolder: writes down which models there are: at the start, at each change, at the end.

And those that are to be there from the start, and do not load: a restart tries them again.
What a snapshot looks like is `snapshot`'s to know.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Final

from msgspec.structs import replace

from torchloom_api.torchserve.absent_models import Absence
from torchloom_api.torchserve.archive_url import is_folder
from torchloom_api.torchserve.catalog import Catalog, Served
from torchloom_api.torchserve.registration import Order
from torchloom_api.torchserve.snapshot import Moment, Snapshot
from torchloom_api.torchserve.startup_model import StartupModel


_log = logging.getLogger(__name__)

_GONE: Final = 404


def _local_time() -> datetime:
    return datetime.now().astimezone()


class SnapshotFolder:
    """Writes snapshots of a catalog. `given` are the keys that each repeats.

    A snapshot that cannot be written is told in the log: the models serve all the same.
    """

    def __init__(
        self,
        path: Path,
        given: Mapping[str, str],
        *,
        now: Callable[[], datetime] = _local_time,
    ) -> None:
        self._path = path
        self._given = given
        self._now = now

    def write(
        self, catalog: Catalog, absent: Iterable[tuple[Order, Absence]], moment: Moment
    ) -> None:
        """Write one, whole or not at all. Native models and nodes of workflows are not in it."""
        now = self._now()
        models: dict[str, dict[str, StartupModel]] = {}
        for served in catalog.served():
            if not (served.is_native or served.is_loading or served.workflow):
                models.setdefault(served.name, {})[served.version] = _show(served)
        for (name, version), model in _show_absent(absent):
            models.setdefault(name, {}).setdefault(version, model)
        for name, versions in models.items():
            default = catalog.default_among(name, versions)
            if default in versions:
                versions[default] = replace(versions[default], default_version=True)
        snapshot = Snapshot.take(models, moment=moment, now=now)
        try:
            self._put(snapshot.name, snapshot.write(self._given, now=now))
        except OSError as error:
            _log.error("The snapshot %s cannot be written: %s", snapshot.name, error)

    def _put(self, name: str, text: str) -> None:
        self._path.mkdir(parents=True, exist_ok=True)
        descriptor, temporary = tempfile.mkstemp(dir=self._path, prefix=".")
        try:
            with os.fdopen(descriptor, "w", encoding="latin-1") as file:
                file.write(text)
            Path(temporary).replace(self._path / name)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise


def _show_absent(
    absent: Iterable[tuple[Order, Absence]],
) -> Iterator[tuple[tuple[str, str], StartupModel]]:
    """Give those that can be found again: a name and a version, and a file in the store itself."""
    for order, absence in absent:
        file, wish = order.url.rstrip("/"), order.wish
        if absence.model is None or absence.status == _GONE or "/" in file:
            continue
        yield (
            absence.model,
            StartupModel(
                mar_name=file,
                min_workers=wish.initial_workers,
                max_workers=wish.max_workers,
                batch_size=wish.batch_size,
                max_batch_delay=wish.max_batch_delay_ms,
                response_timeout=wish.response_timeout_s,
                startup_timeout=wish.startup_timeout_s,
            ),
        )


def _name_file(url: str) -> str:
    """Name an archive as a restart finds it: by its path below the store, or a folder's elsewhere.

    What came from a URL lies in the store under its last name.
    """
    is_known = "://" not in url and (not Path(url).is_absolute() or is_folder(Path(url)))
    return url if is_known else url.rpartition("/")[2]


def _show(served: Served) -> StartupModel:
    limits = served.limits
    return StartupModel(
        mar_name=_name_file(served.url.rstrip("/")),
        min_workers=limits.min_workers,
        max_workers=limits.max_workers,
        batch_size=limits.batch_size,
        max_batch_delay=limits.max_batch_delay_ms,
        response_timeout=limits.response_timeout_s,
        startup_timeout=limits.startup_timeout_s,
        runtime_type=served.runtime,
    )
