"""Counters, gauges and histograms."""

from __future__ import annotations

import pytest

from torchloom.stats import METRICS, Series, Stats


def test_gives_the_same_series_for_the_same_labels() -> None:
    """A series is made on first use and lives on; a snapshot shows each as it stands."""
    stats = Stats()
    stats.counter("tasks", "echo", "1", "done").add()
    stats.counter("tasks", "echo", "1", "done").add(2)
    stats.counter("tasks", "echo", "1", "failed").add()
    assert set(stats.snapshot()) == {
        Series(METRICS["tasks"], ("echo", "1", "done"), 3.0),
        Series(METRICS["tasks"], ("echo", "1", "failed"), 1.0),
    }


def test_counts_observations_by_upper_bound() -> None:
    """A value on a bound counts below it; beyond the last bound is infinity."""
    stats = Stats()
    sizes = stats.histogram("batch_size", "echo", "1", "cpu")
    for size in (1, 2, 3, 1000):
        sizes.observe(size)
    (series,) = stats.snapshot()
    assert series.counts == (1, 1, 1, 0, 0, 0, 0, 0, 0, 1)
    assert len(series.counts) == len(METRICS["batch_size"].bounds) + 1
    assert series.value == 1006


def test_refuses_a_metric_that_is_not_declared() -> None:
    """Every metric stands in METRICS."""
    with pytest.raises(KeyError):
        Stats().counter("nothing")
    with pytest.raises(KeyError):
        Stats().histogram("nothing")


def test_declares_bounds_that_rise() -> None:
    """Histograms have rising bounds; others have none."""
    for name, metric in METRICS.items():
        assert metric.name == name
        assert (metric.kind == "histogram") == bool(metric.bounds)
        assert list(metric.bounds) == sorted(set(metric.bounds))
