"""`ts.service`."""

from __future__ import annotations

import logging
from collections.abc import Iterable


_log = logging.getLogger(__name__)


def emit_metrics(metrics: Iterable[object]) -> None:
    """Write metrics to the log."""
    for metric in metrics:
        _log.info("[METRICS]%s", metric)
