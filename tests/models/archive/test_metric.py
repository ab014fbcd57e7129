"""Metrics of handlers."""

from __future__ import annotations

import weakref
from pathlib import Path

import msgspec
import numpy as np
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
from torchloom_models.archive.metric_error import (
    MetricsCacheIOError,
    MetricsCacheKeyError,
    MetricsCachePyYamlError,
    MetricsCacheTypeError,
    MetricsCacheValueError,
)
from torchloom_models.archive.ts.metrics.metric_cache_yaml_impl import MetricsCacheYamlImpl


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


def test_writes_dimensions_as_plain_text(metrics: MetricsCache) -> None:
    """Numpy's texts are texts for Python, and travel all the same."""
    metrics.add_counter("Rows", 2, dimensions=[Dimension("Color", np.str_("red"))])
    sample = the(metrics)

    assert msgspec.msgpack.decode(msgspec.msgpack.encode(sample), type=Sample) == sample


def test_keeps_nothing_of_dimensions_that_changed(metrics: MetricsCache) -> None:
    """A metric that nobody has declared may have others with each value."""
    alive = weakref.WeakSet[CachingMetric]()
    for number in range(10):
        metrics.add_counter("Rows", 2, dimensions=[Dimension(f"color{number % 2}", "red")])
        alive.add(metrics.get_metric("Rows"))

    assert len(alive) == 1


def test_lets_a_handler_name_the_model_and_the_level(metrics: MetricsCache) -> None:
    """What is given goes before what would be added."""
    given = [Dimension("Level", "Host"), Dimension("ModelName", "other")]
    metrics.add_counter("Rows", 1, dimensions=given)
    plain = the(metrics).labels
    metrics.add_error("Wrong", 1, dimensions=given)

    assert plain == the(metrics).labels == {"Level": "Host", "ModelName": "other"}
    assert len(given) == 2


def test_knows_what_is_declared_from_the_start() -> None:
    """By its own names of dimensions, which other names fill in their order."""
    declared = [
        {"name": "Rows", "kind": "counter", "unit": "count", "dimensions": ["model", "level"]},
        {"name": "Size", "kind": "gauge", "unit": "MB", "dimensions": ["Level", "ModelName"]},
    ]
    metrics = MetricsCache("net", declared=declared)
    metrics.get_metric("Rows").add_or_update(1, ["net", "Model"])
    metrics.add_counter("Rows", 2)
    metrics.add_size("Size", 3)
    metrics.get_metric("HandlerTime", MetricTypes.GAUGE).add_or_update(4, ["net", "Model"])
    found = [(each.unit, dict(each.labels), each.value) for each in metrics.log.take()]
    own = {"model": "net", "level": "Model"}
    named = {"Level": "Model", "ModelName": "net"}

    assert found == [
        ("Count", own, 1),
        ("Count", own, 2),
        ("Megabytes", named, 3),
        ("Milliseconds", {"ModelName": "net", "Level": "Model"}, 4),
    ]


def test_leaves_out_what_a_declared_metric_has_no_room_for(
    metrics: MetricsCache, caplog: pytest.LogCaptureFixture
) -> None:
    """Of one that nobody has declared, each value brings its dimensions."""
    metrics.add_metric_to_cache("Calls", "count", ["Kind"])
    metrics.add_counter("Calls", 1)
    assert not metrics.log.take()
    assert "has the dimensions ['Kind'], and 2 values were given" in caplog.text
    metrics.add_counter("Rows", 1)
    metrics.add_counter("Rows", 1, dimensions=[Dimension("Color", "red")])

    assert [len(each.labels) for each in metrics.log.take()] == [2, 3]


def test_leaves_out_what_is_no_number(
    metrics: MetricsCache, caplog: pytest.LogCaptureFixture
) -> None:
    """The prediction goes on; the log has the value."""
    metrics.add_error("Wrong", "broken pipe")  # type: ignore[arg-type]  # as its documents say

    assert not metrics.log.take()
    assert "'broken pipe' of the metric 'Wrong' is no number" in caplog.text


@pytest.mark.parametrize(
    ("declaration", "fault"),
    [
        ((1, "ms"), "the name of a metric is a text"),
        (("a", None), "the unit of 'a' is a text"),
        (("a", "ms", "Kind"), "the dimensions of 'a' are a list"),
        (("a", "ms", [], "gauge"), "the type of 'a' is one of MetricTypes"),
    ],
)
def test_refuses_what_declares_nothing(
    metrics: MetricsCache, declaration: tuple[object, ...], fault: str
) -> None:
    """Handlers catch it by TorchServe's name."""
    with pytest.raises(MetricsCacheTypeError, match=f"(?i){fault}"):
        metrics.add_metric_to_cache(*declaration)  # type: ignore[arg-type]  # handlers give any


def test_reads_a_file_of_metrics(tmp_path: Path) -> None:
    """For tests of handlers, which make a cache by themselves."""
    file = tmp_path / "metrics.yaml"
    file.write_text("model_metrics:\n  gauge:\n    - {name: Depth, unit: m, dimensions: [Place]}\n")
    metrics = MetricsCacheYamlImpl(config_file_path=str(file))
    metrics.initialize_cache()
    metrics.get_metric("Depth", MetricTypes.GAUGE).add_or_update(2, ["here"])

    assert the(metrics).labels == {"Place": "here"}


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("a: [", MetricsCachePyYamlError),
        ("ts_metrics: {}", MetricsCacheKeyError),
        ("model_metrics: {}", MetricsCacheValueError),
        ("model_metrics: {meter: [{name: a, unit: m, dimensions: []}]}", MetricsCacheKeyError),
        ("model_metrics: {gauge: [{name: a}]}", MetricsCacheKeyError),
        ("model_metrics: []", MetricsCacheValueError),
        ("model_metrics: [gauge]", MetricsCacheTypeError),
        ("model_metrics: {gauge: a}", MetricsCacheTypeError),
        ("model_metrics: {gauge: {name: a}}", MetricsCacheTypeError),
        ("model_metrics: {gauge: }", MetricsCacheTypeError),
        ("model_metrics: {gauge: [a]}", MetricsCacheTypeError),
        ("model_metrics: {[]: []}", MetricsCachePyYamlError),
        ("model_metrics: {gauge: [{name: [], unit: m, dimensions: []}]}", MetricsCacheTypeError),
        ("model_metrics: {gauge: [{name: a, unit: 1, dimensions: 3}]}", MetricsCacheTypeError),
        ("\udcff: 1", MetricsCachePyYamlError),
    ],
)
def test_tells_what_is_wrong_with_a_file(tmp_path: Path, text: str, error: type[Exception]) -> None:
    """By the names that TorchServe has for it."""
    file = tmp_path / "metrics.yaml"
    file.write_bytes(text.encode(errors="surrogateescape"))
    with pytest.raises(error):
        MetricsCacheYamlImpl(config_file_path=file).initialize_cache()
    with pytest.raises(MetricsCacheIOError):
        MetricsCacheYamlImpl(config_file_path=tmp_path / "none")


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
    declared.update(1, dimensions=[Dimension("Sort", "other")])
    assert the(metrics).labels == {"Sort": "other"}
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
