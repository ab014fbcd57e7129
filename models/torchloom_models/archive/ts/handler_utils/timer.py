"""`ts.handler_utils.timer`."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from torchloom_models.archive.metric import MetricTypes


P = ParamSpec("P")
R = TypeVar("R")


def timed(method: Callable[P, R]) -> Callable[P, R]:
    """Measure a stage of a handler, where `handler.profile` of its configuration asks for it."""

    @functools.wraps(method)
    def measured(*args: P.args, **kwargs: P.kwargs) -> R:
        context = getattr(args[0], "context", None)
        section = context.model_yaml_config.get("handler") if context is not None else None
        if not (isinstance(section, dict) and section.get("profile")):
            return method(*args, **kwargs)
        started = time.perf_counter()
        given = method(*args, **kwargs)
        name = f"ts_handler_{method.__name__}"
        took_ms = (time.perf_counter() - started) * 1000
        metrics = cast("Any", context).metrics
        metrics.add_metric(name, took_ms, "ms", metric_type=MetricTypes.GAUGE)
        return given

    return measured
