"""All metrics of TorchServe's names, on the page and in the logs."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from torchloom.sample import Sample
from torchloom_api.torchserve.telemetry.measurement import Measured, Measurement
from torchloom_api.torchserve.telemetry.metric_book import MetricBook, Mode
from torchloom_api.torchserve.telemetry.metric_declaration import (
    DEFAULT,
    MetricDeclaration,
    MetricTable,
)


TOOK = Sample(
    "Took", "gauge", "Milliseconds", {"ModelName": "noop", "Level": "Model"}, 1.5, "some-id"
)
HANDLER_TIME = replace(TOOK, name="HandlerTime")


class Book:
    """A book, and what it has written."""

    def __init__(self, mode: Mode, *, table: MetricTable = DEFAULT, **more: object) -> None:
        self.lines: list[tuple[str, str]] = []
        self.book = MetricBook(
            table,
            mode=mode,
            hostname="vm",
            write=self._write,
            **more,  # type: ignore[arg-type]  # tests give any
        )

    def _write(self, logger: str, values: Sequence[Measured]) -> None:
        messages = Measurement(logger, 1795356890.293, values).messages()
        self.lines += [(logger, message) for message in messages]

    def hear(self, sample: Sample) -> None:
        """Take what a handler has measured, as if it were the first of its series."""
        self.book.sample_taker(sample)(sample)

    def values(self, *names: str) -> dict[tuple[str, ...], float]:
        """Give what a reader of Prometheus' format makes of the page; it renames counters."""
        page = self.book.page(names)
        return {
            (
                sample.name if f"{sample.name}{{" in page else sample.name.removesuffix("_total"),
                *sample.labels.values(),
            ): sample.value
            for family in text_string_to_metric_families(page)
            for sample in family.samples
        }


def fill(book: MetricBook) -> None:
    """Give some values."""
    book.add("Requests2XX", ("Host",), 1.0)
    book.add("Requests2XX", ("Host",), 1.0)
    book.add("QueueTime", ("Host",), 62.0)
    book.add("ts_inference_latency_microseconds", ("noop", "default"), 12917103.519)
    book.sample_taker(HANDLER_TIME)(HANDLER_TIME)


def test_shows_all_in_the_mode_prometheus() -> None:
    """Word for word as the real page: a comma behind each label, and Java's numbers."""
    book = Book("prometheus")
    fill(book.book)
    page = book.book.page()

    assert page.startswith(
        "# HELP Requests2XX Torchserve prometheus counter metric with unit: Count\n"
        "# TYPE Requests2XX counter\n"
        'Requests2XX{Level="Host",Hostname="vm",} 2.0\n'
        "# HELP Requests4XX Torchserve prometheus counter metric with unit: Count\n"
        "# TYPE Requests4XX counter\n"
        "# HELP Requests5XX"
    )
    assert (
        'ts_inference_latency_microseconds{model_name="noop",model_version="default",'
        'hostname="vm",} 1.2917103519E7\n'
    ) in page
    assert 'HandlerTime{ModelName="noop",Level="Model",Hostname="vm",} 1.5\n' in page
    assert book.lines == []
    assert book.values()["QueueTime", "Host", "vm"] == 62.0


def test_writes_all_in_the_mode_log() -> None:
    """Each value is a line, in the words of the real files; counters have what was added."""
    book = Book("log")
    fill(book.book)

    assert book.book.page() == ""
    assert book.lines == [
        ("TS_METRICS", "Requests2XX.Count:1.0|#Level:Host|#hostname:vm,timestamp:1795356890"),
        ("TS_METRICS", "Requests2XX.Count:1.0|#Level:Host|#hostname:vm,timestamp:1795356890"),
        ("TS_METRICS", "QueueTime.Milliseconds:62.0|#Level:Host|#hostname:vm,timestamp:1795356890"),
        (
            "TS_METRICS",
            (
                "ts_inference_latency_microseconds.Microseconds:1.2917103519E7|#model_name:noop,"
                "model_version:default|#hostname:vm,timestamp:1795356890"
            ),
        ),
        (
            "MODEL_METRICS",
            (
                "HandlerTime.ms:1.5|#ModelName:noop,Level:Model|#hostname:vm,requestID:some-id,"
                "timestamp:1795356890"
            ),
        ),
    ]


def test_shows_three_and_writes_the_others_in_the_mode_legacy() -> None:
    """As the real one does."""
    book = Book("legacy")
    fill(book.book)

    assert list(book.values()) == [("ts_inference_latency_microseconds", "noop", "default", "vm")]
    assert [line.partition(".")[0] for _, line in book.lines] == [
        *("Requests2XX", "Requests2XX", "QueueTime", "HandlerTime")
    ]


def test_shows_the_names_that_are_asked_for() -> None:
    """Those alone; one that there is not gives an empty page."""
    book = Book("prometheus")
    fill(book.book)

    assert list(book.values("QueueTime", "HandlerTime")) == [
        ("QueueTime", "Host", "vm"),
        ("HandlerTime", "noop", "Model", "vm"),
    ]
    assert book.book.page(["Nonesuch"]) == ""


def test_shows_histograms() -> None:
    """With Prometheus' default bounds, as the real page has them."""
    declared = MetricDeclaration(name="Hist", kind="histogram", unit="ms", dimensions=("K", "H"))
    book = Book("prometheus", table=MetricTable(server={"Hist": declared}))
    for value in (7.0, 7.0, 100.0, float("nan")):
        book.book.add("Hist", ("v",), value)
    page = book.book.page()

    assert 'Hist_bucket{K="v",H="vm",le="5.0",} 0.0\n' in page
    assert 'Hist_bucket{K="v",H="vm",le="7.5",} 2.0\n' in page
    assert 'Hist_bucket{K="v",H="vm",le="+Inf",} 3.0\n' in page
    assert 'Hist_count{K="v",H="vm",} 3.0\nHist_sum{K="v",H="vm",} 114.0\n' in page
    assert book.book.page(["Hist"]) == page
    about = page.splitlines(keepends=True)[:2]
    assert book.book.page(["Hist_sum"]) == "".join([*about, 'Hist_sum{K="v",H="vm",} 114.0\n'])


def test_writes_that_a_value_belongs_to_no_request() -> None:
    """In TorchServe's word."""
    book = Book("log")
    book.hear(replace(HANDLER_TIME, request_ids=""))

    assert "requestID:null,timestamp" in book.lines[0][1]


def test_leaves_out_what_is_not_declared(caplog: pytest.LogCaptureFixture) -> None:
    """It is told once, however often it comes."""
    book = Book("log")
    for _ in range(3):
        book.hear(TOOK)
    book.book.add("Nonesuch", ("Host",), 1.0)

    assert book.lines == []
    assert [each.getMessage() for each in caplog.records] == [
        "The metric 'Took' is not declared in metrics_config, and left out."
    ]


def test_takes_what_is_not_declared_if_that_is_wanted() -> None:
    """With the unit and the dimensions that it has, and the host's name."""
    book = Book("prometheus", detects=True)
    book.hear(replace(TOOK, labels={"Kind": 'a "b"\\\n', **TOOK.labels}))

    assert 'Took{Kind="a \\"b\\"\\\\\\n",ModelName="noop",Level="Model",Hostname="vm",} 1.5' in (
        book.book.page()
    )
    assert book.values("Took") == {("Took", 'a "b"\\\n', "noop", "Model", "vm"): 1.5}


@pytest.mark.parametrize(
    "sample",
    [
        replace(TOOK, name="no name"),
        replace(TOOK, name="line\nbreak"),
        replace(TOOK, name=""),
        replace(TOOK, name="x" * 5 + "\u00e9"),
        replace(TOOK, labels={"no name": "x"}),
        replace(TOOK, name="Requests2XX"),
        replace(HANDLER_TIME, labels={"ModelName": "noop", "Other": "x"}),
    ],
    ids=["blank", "break", "empty", "letter", "label", "server", "dimensions"],
)
def test_refuses_absurd_names(sample: Sample, caplog: pytest.LogCaptureFixture) -> None:
    """Neither page nor log has them; what is declared is what it was declared to be."""
    for mode in ("prometheus", "log"):
        book = Book(mode, detects=True)  # type: ignore[arg-type]  # the two of them
        book.hear(sample)
        assert (book.values(), book.lines) == ({}, [])
    assert len(caplog.records) == 2


def test_refuses_absurd_values(caplog: pytest.LogCaptureFixture) -> None:
    """Counters do not fall; gauges may be anything."""
    book = Book("prometheus", detects=True)
    counter = replace(TOOK, name="Rows", kind="counter", value=2.0)
    for value in (2.0, -1.0, float("nan")):
        book.hear(replace(counter, value=value))
    book.hear(replace(TOOK, value=float("inf")))

    assert "Rows{" in book.book.page()
    assert set(book.values("Rows", "Took").values()) == {2.0, float("inf")}
    assert "+Inf\n" in book.book.page()
    assert "cannot rise by -1.0" in caplog.text


def test_keeps_no_more_series_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    """A handler that makes a label of each request fills no memory; the log has them all."""
    book = Book("prometheus", max_series=10)
    samples = [replace(HANDLER_TIME, labels={**TOOK.labels, "Level": str(n)}) for n in range(100)]
    for sample in samples:
        book.hear(sample)
    assert len(book.values("HandlerTime")) == 10
    assert caplog.text.count("has too many series") == 1

    log = Book("log", max_series=10)
    for sample in samples:
        log.hear(sample)
    assert len(log.lines) == 100


def test_keeps_no_more_metrics_than_it_may(caplog: pytest.LogCaptureFixture) -> None:
    """Nor does one that makes a name of each; warnings are bounded as well."""
    book = Book("prometheus", detects=True)
    for number in range(3000):
        book.hear(replace(TOOK, name=f"Took{number}"))

    assert len(book.values()) == 1000
    assert len(caplog.records) == 100


def test_writes_one_line_for_a_value_whatever_is_in_it() -> None:
    """Nobody can make lines of a log that look like others'."""
    caught = replace(
        HANDLER_TIME, labels={"ModelName": "a\nb\x85c", "Level": "x\r"}, request_ids="1\n2"
    )
    book = Book("log")
    book.hear(caught)
    ((_, line),) = book.lines

    assert line.splitlines() == [line]
    assert "#ModelName:a b c,Level:x |" in line
    assert "requestID:1 2," in line


def test_forgets_a_series() -> None:
    """Of a worker that is gone nothing is shown."""
    book = Book("prometheus")
    book.book.add("WorkerLoadTime", ("W-9000-noop_1.0", "Host"), 12.0)
    book.book.forget("WorkerLoadTime", ("W-9000-noop_1.0", "Host"))
    book.book.forget("Nonesuch", ())

    assert book.values() == {}
