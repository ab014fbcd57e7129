"""The metrics page."""

from __future__ import annotations

import httpx
from api_fakes.documents import ECHO, STREAM, Register
from prometheus_client.parser import text_string_to_metric_families

from torchloom.sample import Readings, Sample
from torchloom.stats import METRICS, Stats
from torchloom_api.metrics import MetricsPage, RequestMeter


class Page:
    """Prometheus' text, read by the official parser."""

    def __init__(self, text: bytes) -> None:
        families = text_string_to_metric_families(text.decode())
        self.samples = [sample for family in families for sample in family.samples]

    def value(self, name: str, **labels: str) -> float:
        """Give the value of the one sample with these labels."""
        (value,) = (s.value for s in self.samples if s.name == name and s.labels == labels)
        return value


def test_sums_buckets_up() -> None:
    """A bucket holds all that is at or below its bound, and the last one everything."""
    stats = Stats()
    histogram = stats.histogram("batch_size", "m", "1", "cpu")
    for size in (1, 2, 2, 9, 1000):
        histogram.observe(size)
    page = Page(MetricsPage([stats.snapshot]).render())
    labels = {"model": "m", "version": "1", "device": "cpu"}

    def bucket(bound: str) -> float:
        return page.value("torchloom_batch_size_bucket", le=bound, **labels)

    assert [bucket(bound) for bound in ("1.0", "2.0", "16.0", "+Inf")] == [1, 3, 4, 5]
    assert page.value("torchloom_batch_size_count", **labels) == 5
    assert page.value("torchloom_batch_size_sum", **labels) == 1014


def test_shows_counters_and_gauges() -> None:
    """Counters rise and carry Prometheus' suffix; gauges stand as they are."""
    stats = Stats()
    stats.counter("tokens", "llama", "1", "completion").add(7)
    stats.counter("runs_in_progress", "rag").add(2)
    stats.counter("runs_in_progress", "rag").add(-1)
    page = Page(MetricsPage([stats.snapshot]).render())

    assert page.value("torchloom_tokens_total", model="llama", version="1", type="completion") == 7
    assert page.value("torchloom_runs_in_progress", workflow="rag") == 1


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

    page = Page(MetricsPage([meter.snapshot]).render())

    assert "evil" not in {sample.name for sample in page.samples}


async def test_tells_of_the_core_and_of_requests(
    client: httpx.AsyncClient, register: Register
) -> None:
    """`GET /metrics` holds runs, steps, batches, tokens, queues, replicas and requests."""
    await register(ECHO, STREAM)
    await client.post("/api/workflows/stream/runs", json={"count": 4})
    response = await client.get("/metrics")
    page = Page(response.content)
    model = {"model": "streamer", "version": "1"}
    route = {"method": "POST", "route": "/api/workflows/{label}/runs", "status": "200"}

    assert response.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert page.value("torchloom_run_seconds_count", workflow="stream", state="done") == 1
    assert page.value("torchloom_node_seconds_count", workflow="stream", node="words") == 1
    assert page.value("torchloom_tasks_total", state="done", **model) == 1
    assert page.value("torchloom_queue_depth", **model) == 0
    assert page.value("torchloom_replicas", state="ready", **model) == 1
    assert page.value("torchloom_queue_seconds_count", **model) == 1
    assert page.value("torchloom_step_seconds_count", device="cpu", **model) >= 4
    assert page.value("torchloom_tokens_total", type="completion", **model) == 4
    assert page.value("torchloom_request_seconds_count", **route) == 1
    assert page.value("process_resident_memory_bytes") > 0


def test_shows_what_models_measure_by_themselves() -> None:
    """Names and labels are the handler's, as far as Prometheus takes them; kinds do not mix."""
    readings = Readings()
    readings.add(
        "net",
        2,
        [
            Sample("Rows seen", "counter", "Count", {"Level": "Model", "2nd": "x"}, 3),
            Sample("Took", "gauge", "Milliseconds", {}, 1.5),
            Sample("Took", "histogram", "Seconds", {}, 0.02),
            Sample("Took", "histogram", "Seconds", {}, 70),
        ],
    )
    page = Page(MetricsPage([], readings=readings).render())
    own = {"model": "net", "version": "2"}
    buckets = "torchloom_handler_Took_histogram"

    assert page.value("torchloom_handler_Rows_seen_total", Level="Model", _2nd="x", **own) == 3
    assert page.value("torchloom_handler_Took", **own) == 1.5
    assert page.value(f"{buckets}_bucket", le="0.025", **own) == 1
    assert page.value(f"{buckets}_count", **own) == 2
    assert page.value(f"{buckets}_sum", **own) == 70.02
