"""Reading `metrics_config`."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.torchserve.telemetry.metric_declaration import MetricDeclaration
from torchloom_api.torchserve.telemetry.metric_file import (
    InvalidMetricsFile,
    read_metric_file,
    read_metrics,
)


FILE = """\
dimensions:
  - &model_name "ModelName"
  - &level "Level"
  - &hostname "Hostname"
ts_metrics:
  counter:
    - name: Requests2XX
      unit: Count
      dimensions: [*level, *hostname]
  histogram:
    - name: ts_inference_latency_microseconds
      unit: Microseconds
      dimensions: ["model_name", "model_version", "hostname"]
model_metrics:
  gauge:
    - name: HandlerTime
      unit: ms
      dimensions: [*model_name, *level]
"""


def declare(text: str) -> str:
    """Give a file with one metric of handlers."""
    return f"ts_metrics: {{}}\nmodel_metrics:\n  gauge:\n    - {text}\n"


def test_reads_what_is_declared() -> None:
    """Anchors stand for names, kinds may be changed, and handlers' metrics get the host's name."""
    table = read_metrics(FILE, "metrics.yaml")

    assert list(table.server) == ["Requests2XX", "ts_inference_latency_microseconds"]
    assert table.server["ts_inference_latency_microseconds"].kind == "histogram"
    assert dict(table.model) == {
        "HandlerTime": MetricDeclaration(
            name="HandlerTime",
            kind="gauge",
            unit="ms",
            dimensions=("ModelName", "Level", "Hostname"),
        )
    }


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("a: [", "is no YAML"),
        ("[1, 2]", "ts_metrics is missing, or no mapping; model_metrics is missing"),
        ("ts_metrics: {}", "model_metrics is missing"),
        (FILE.replace("counter", "countr"), "'countr', which is no kind Did you mean 'counter'"),
        (declare("{name: a b, unit: ms, dimensions: [Level]}"), "'a b' is no name of a metric"),
        (declare("{name: 7, unit: ms, dimensions: [Level]}"), "7 is no name of a metric"),
        (declare("{name: a, unit: '', dimensions: [Level]}"), "'a' has no unit"),
        (declare("{name: a, unit: ms}"), "'a' has no dimensions"),
        (declare("{name: a, unit: ms, dimensions: [x y]}"), "dimensions that are no names"),
        (declare("{name: a, unit: ms, dimensions: [x, x]}"), "has a dimension twice"),
        (declare("{name: a, unit: ms, dimensions: [x], unti: s}"), "the unknown keys ['unti']"),
        (declare("just words"), "model_metrics.gauge[0] is no mapping"),
        (FILE.replace("HandlerTime", "Requests2XX"), "under both ts_metrics and model_metrics"),
        (FILE.replace("[*level, *hostname]", "[*level]"), "must have 2 dimensions, not 1"),
    ],
)
def test_names_what_is_wrong(text: str, fault: str) -> None:
    """Where it is, and what."""
    with pytest.raises(InvalidMetricsFile) as raised:
        read_metrics(text, "metrics.yaml")
    assert "'metrics.yaml'" in raised.value.message
    assert fault in raised.value.message.replace("kind.", "kind")


def test_names_all_faults_at_once() -> None:
    """Whoever mends a file mends it once."""
    text = declare("{name: a, unit: '', dimensions: []}") + "    - {name: '-', unit: s}\n"
    with pytest.raises(InvalidMetricsFile, match=r"no unit.*no dimensions.*no name"):
        read_metrics(text, "metrics.yaml")


def test_reads_no_file_that_is_not_there_or_too_large(tmp_path: Path) -> None:
    """The path is named."""
    with pytest.raises(InvalidMetricsFile, match=r"gone\.yaml' cannot be read: No such file"):
        read_metric_file(tmp_path / "gone.yaml")
    (tmp_path / "large.yaml").write_bytes(b"#" * ((1 << 20) + 1))
    with pytest.raises(InvalidMetricsFile, match="more than 1048576 bytes"):
        read_metric_file(tmp_path / "large.yaml")
