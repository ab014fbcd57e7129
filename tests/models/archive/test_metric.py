"""Metrics of handlers."""

from __future__ import annotations

import pytest

from torchloom.sample import Sample
from torchloom_models.archive import metric as metric_module
from torchloom_models.archive.metric import (
    CachingMetric,
    Dimension,
    MetricLog,
    MetricsCache,
    MetricTypes,
)
from torchloom_models.archive.metric_error import MetricsCacheKeyError, MetricsCacheValueError


@pytest.fixture
def metrics() -> MetricsCache:
    """Give what a handler finds in its context, with a batch of two."""
    cache = MetricsCache("net")
    cache.request_ids = {0: "r0", 1: "r1"}
    return cache


def the(metrics: MetricsCache) -> Sample:
    """Give the one value that was given."""
    (sample,) = metrics.log.take()
    return sample


def test_adds_the_model_and_its_level(metrics: MetricsCache) -> None:
    """Own dimensions come first; all ids of the batch count unless one is named."""
    metrics.add_counter("Rows", 2, dimensions=[Dimension("Color", "red")])
    whole = the(metrics)
    metrics.add_counter("Rows", 2, 1)

    assert whole == Sample(
        name="Rows",
        unit="Count",
        kind="counter",
        labels={"Color": "red", "ModelName": "net", "Level": "Model"},
        value=2.0,
        request_ids="r0,r1",
    )
    assert the(metrics).request_ids == "r1"


def test_has_a_unit_and_a_type_for_each_call(metrics: MetricsCache) -> None:
    """Times, sizes and shares are gauges with units of their own."""
    metrics.add_time("a", 1)
    metrics.add_time("b", 1, unit="s")
    metrics.add_size("c", 1)
    metrics.add_size("d", 1, unit="kB")
    metrics.add_percent("e", 1)
    metrics.add_metric("f", 1, "count", metric_type=MetricTypes.HISTOGRAM)
    metrics.add_error("g", 1)

    assert [(each.name, each.unit, each.kind) for each in metrics.log.take()] == [
        ("a", "Milliseconds", "gauge"),
        ("b", "Seconds", "gauge"),
        ("c", "Megabytes", "gauge"),
        ("d", "Kilobytes", "gauge"),
        ("e", "Percent", "gauge"),
        ("f", "Count", "histogram"),
        ("g", "unit", "counter"),
    ]


def test_marks_errors_by_their_level(metrics: MetricsCache) -> None:
    """An error belongs to the level of errors alone."""
    metrics.add_error("Wrong", 1)

    assert the(metrics).labels == {"Level": "Error"}


@pytest.mark.parametrize(("call", "unit"), [("add_time", "h"), ("add_size", "ms")])
def test_refuses_units_that_there_are_not(metrics: MetricsCache, call: str, unit: str) -> None:
    """The message says which there are."""
    with pytest.raises(MetricsCacheValueError, match=f"no unit '{unit}' here"):
        getattr(metrics, call)("a", 1, unit=unit)


def test_declares_a_metric_once(metrics: MetricsCache) -> None:
    """The same again is the same; it is updated with values for its dimensions."""
    declared = metrics.add_metric_to_cache("Calls", "count", ["Kind"])
    declared.add_or_update(2, ["plain"], "r0")

    assert metrics.add_metric_to_cache("Calls", "count", ["Kind"]) is declared
    assert metrics.get_metric("Calls") is declared
    assert (the(metrics).labels, declared.unit) == ({"Kind": "plain"}, "Count")
    declared.update(1, dimensions=[Dimension("Kind", "other")])
    assert the(metrics).labels == {"Kind": "other"}
    with pytest.raises(MetricsCacheKeyError, match="no gauge 'Calls'"):
        metrics.get_metric("Calls", MetricTypes.GAUGE)


def test_leaves_out_what_has_other_dimensions(
    metrics: MetricsCache, caplog: pytest.LogCaptureFixture
) -> None:
    """The prediction goes on, as in TorchServe; the log says why there is no value."""
    metrics.add_metric_to_cache("Calls", "count", ["Kind"]).add_or_update(1, ["a", "b"])

    assert not metrics.log.take()
    assert "has the dimensions ['Kind'], and 2 values were given" in caplog.text


def test_keeps_no_more_than_its_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    """A handler that measures without end does not fill the memory."""
    monkeypatch.setattr(metric_module, "_MAX_SAMPLES", 2)
    log = MetricLog()
    metric = CachingMetric("a", "ms", [], MetricTypes.GAUGE, log)
    for value in range(5):
        metric.add_or_update(value)

    assert [each.value for each in log.take()] == [0, 1]
    assert log.num_lost == 3
    assert log.take() == []
