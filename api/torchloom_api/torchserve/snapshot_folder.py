"""SnapshotFolder: writes down which models there are: at the start, at each change, at the end.

What a snapshot looks like is `snapshot`'s to know.
"""

from __future__ import annotations

import logging
import os
import tempfile
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from torchloom_api.torchserve.catalog import Catalog, Served
from torchloom_api.torchserve.snapshot import Moment, Snapshot
from torchloom_api.torchserve.startup_model import StartupModel


_log = logging.getLogger(__name__)


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

    def write(self, catalog: Catalog, moment: Moment) -> None:
        """Write one, whole or not at all. Native models and nodes of workflows are not in it."""
        now = self._now()
        models: dict[str, dict[str, StartupModel]] = {}
        for served in catalog.served():
            if not (served.is_native or served.is_loading or served.workflow):
                models.setdefault(served.name, {})[served.version] = _show(catalog, served)
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


def _show(catalog: Catalog, served: Served) -> StartupModel:
    limits = served.limits
    return StartupModel(
        default_version=catalog.is_default(served),
        mar_name=served.url.rstrip("/").rpartition("/")[2],
        min_workers=limits.min_workers,
        max_workers=limits.max_workers,
        batch_size=limits.batch_size,
        max_batch_delay=limits.max_batch_delay_ms,
        response_timeout=limits.response_timeout_s,
        startup_timeout=limits.startup_timeout_s,
        runtime_type=served.runtime,
    )
