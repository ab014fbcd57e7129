"""How both archivers end: with exit code 0, or with 1 and the reason, as TorchServe's tools do."""

from __future__ import annotations

import logging
from collections.abc import Callable

from torchloom_api.cli.exit_code import ExitCode
from torchloom_models.archive.archiver_error import ArchiverError


_log = logging.getLogger(__name__)


def end_archiver(write: Callable[[], object]) -> int:
    """Write the archive; a failure is told on standard error."""
    logging.basicConfig(format="%(levelname)s - %(message)s")
    try:
        write()
    except (ArchiverError, OSError) as error:
        _log.error("%s", error)
        return ExitCode.FAILED
    return ExitCode.OK
