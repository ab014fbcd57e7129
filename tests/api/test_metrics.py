"""The metrics page."""

from __future__ import annotations

import httpx
from conftest import ECHO, STREAM, Register
from prometheus_client.parser import text_string_to_metric_families

from torchloom.stats import METRICS, Stats
from torchloom_api.metrics import MetricsPage, RequestMeter


def read(text: bytes) -> dict[str, dict[tuple[str, ...], float]]:
    """Read Prometheus' text: sample name → label values → value."""
    samples: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(text.decode()):
        for sample in family.samples:
            samples.setdefault(sample.name, {})[tuple(sample.labels.values())] = sample.value
    return samples


def test_sums_buckets_up() -> None:
    """A bucket holds all that is at or below its bound, and the last one everything."""
    stats = Stats()
    histogram = stats.histogram("batch_size", "m", "1", "cpu")
    for size in (1, 2, 2, 9, 1000):
        histogram.observe(size)
    samples = read(MetricsPage([stats.snapshot]).render())
    buckets = samples["torchloom_batch_size_bucket"]

    assert buckets["m", "1", "cpu", "1.0"] == 1
    assert buckets["m", "1", "cpu", "2.0"] == 3
    assert buckets["m", "1", "cpu", "16.0"] == 4
    assert buckets["m", "1", "cpu", "+Inf"] == 5
    assert samples["torchloom_batch_size_count"]["m", "1", "cpu"] == 5
    assert samples["torchloom_batch_size_sum"]["m", "1", "cpu"] == 1014


def test_shows_counters_and_gauges() -> None:
    """Counters rise and carry Prometheus' suffix; gauges stand as they are."""
    stats = Stats()
    stats.counter("tokens", "llama", "1", "completion").add(7)
    stats.counter("runs_in_progress", "rag").add(2)
    stats.counter("runs_in_progress", "rag").add(-1)
    samples = read(MetricsPage([stats.snapshot]).render())

    assert samples["torchloom_tokens_total"] == {("llama", "1", "completion"): 7}
    assert samples["torchloom_runs_in_progress"] == {("rag",): 1}


def test_can_show_every_metric_that_the_core_declares() -> None:
    """No declared metric is without a family."""
    stats = Stats()
    for metric in METRICS.values():
        labels = ["x"] * len(metric.labels)
        if metric.kind == "histogram":
            stats.histogram(metric.name, *labels).observe(0.5)
        else:
            stats.counter(metric.name, *labels).add()
    text = MetricsPage([stats.snapshot]).render().decode()

    assert all(f"torchloom_{name}" in text for name in METRICS)


def test_escapes_labels() -> None:
    """A name cannot break out of its label."""
    meter = RequestMeter()
    meter.observe("GET", 'a"} 1\nevil 2', 200, 0.1)

    assert "evil" not in read(MetricsPage([meter.snapshot]).render())


async def test_tells_of_the_core_and_of_requests(
    client: httpx.AsyncClient, register: Register
) -> None:
    """`GET /metrics` holds runs, steps, batches, tokens, queues, replicas and requests."""
    await register(ECHO, STREAM)
    await client.post("/api/workflows/stream/runs", json={"count": 4})
    response = await client.get("/metrics")
    samples = read(response.content)

    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert samples["torchloom_run_seconds_count"]["stream", "done"] == 1
    assert samples["torchloom_node_seconds_count"]["stream", "words"] == 1
    assert samples["torchloom_tasks_total"]["streamer", "1", "done"] == 1
    assert samples["torchloom_queue_depth"]["streamer", "1"] == 0
    assert samples["torchloom_replicas"]["streamer", "1", "ready"] == 1
    assert samples["torchloom_queue_seconds_count"]["streamer", "1"] == 1
    assert samples["torchloom_step_seconds_count"]["streamer", "1", "cpu"] >= 4
    assert samples["torchloom_tokens_total"]["streamer", "1", "completion_tokens"] == 4
    route = ("POST", "/api/workflows/{label}/runs", "200")
    assert samples["torchloom_request_seconds_count"][route] == 1
    assert samples["process_resident_memory_bytes"]
