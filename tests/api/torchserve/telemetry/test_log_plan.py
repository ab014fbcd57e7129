"""Which events go where."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.torchserve.telemetry.log_layout import Level
from torchloom_api.torchserve.telemetry.log_plan import LoggerRule, LogPlan, default_plan


PLAN = default_plan(Path("logs"), Path("numbers"))


@pytest.mark.parametrize(
    ("logger", "level", "names"),
    [
        ("ACCESS_LOG", "INFO", ["access_log", "STDOUT", "ts_log"]),
        ("MODEL_LOG", "WARN", ["model_log", "STDOUT", "ts_log"]),
        ("TS_METRICS", "INFO", ["ts_metrics", "STDOUT", "ts_log"]),
        ("MODEL_METRICS", "INFO", ["model_metrics", "STDOUT", "ts_log"]),
        ("org.pytorch.serve.torchserve.server", "INFO", ["ts_log", "STDOUT"]),
        ("org.pytorch.serve", "DEBUG", ["ts_log", "STDOUT"]),
        ("uvicorn.error", "INFO", ["STDOUT", "ts_log"]),
        ("uvicorn.error", "DEBUG", []),
        ("", "WARN", ["STDOUT", "ts_log"]),
    ],
)
def test_sends_events_where_torchserve_does(logger: str, level: Level, names: list[str]) -> None:
    """To its own file, to the console and to ts_log: to that only once."""
    assert [each.name for each in PLAN.route(logger, level)] == names


def test_puts_metrics_where_metrics_are_to_be() -> None:
    """Two of the files have a folder of their own."""
    paths = {name: str(each.path) for name, each in PLAN.appenders.items() if each.path}

    assert paths == {
        "access_log": "logs/access_log.log",
        "model_log": "logs/model_log.log",
        "ts_log": "logs/ts_log.log",
        "model_metrics": "numbers/model_metrics.log",
        "ts_metrics": "numbers/ts_metrics.log",
    }
    rolling = PLAN.appenders["access_log"].rolling
    assert rolling.pattern == "logs/access_log.%d{dd-MMM}.log.gz"
    assert (rolling.max_bytes, rolling.is_daily, rolling.max_files) == (100 << 20, True, 5)


def test_stops_where_a_logger_is_not_additive() -> None:
    """What stands above it does not count."""
    rules = {**PLAN.rules, "ACCESS_LOG": LoggerRule(appenders=("access_log",), is_additive=False)}
    plan = LogPlan(appenders=PLAN.appenders, rules=rules)

    assert [each.name for each in plan.route("ACCESS_LOG", "INFO")] == ["access_log"]
    assert not plan.route("ACCESS_LOG", "DEBUG")
