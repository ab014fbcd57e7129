"""A server's metrics and logs, as its users find them."""

from __future__ import annotations

import asyncio
import logging
import re
from collections.abc import Callable
from pathlib import Path

import grpc.aio
import pytest
from api_fakes.torchserve import MakeMar, Serve, Served
from msgspec.structs import replace
from prometheus_client.parser import text_string_to_metric_families

from torchloom.sample import Sample
from torchloom_api.torchserve.frontend import Predicted
from torchloom_api.torchserve.telemetry.log4j import InvalidLogConfig


STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d,\d{3}"

PATIENCE_S = 30.0


async def values_of(served: Served, *names: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Give what Prometheus makes of the page: name → labels → value."""
    page = await served.metrics.get("/metrics", params=[("name[]", name) for name in names])
    assert page.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for family in text_string_to_metric_families(page.text):
        for sample in family.samples:
            # That reader renames counters; Prometheus does not.
            is_own = f"{sample.name}{{" in page.text or f"\n{sample.name} " in page.text
            name = sample.name if is_own else sample.name.removesuffix("_total")
            found.setdefault(name, {})[tuple(sample.labels.values())[:-1]] = sample.value
    return found


async def values_with(served: Served, name: str) -> dict[str, dict[tuple[str, ...], float]]:
    """Wait until the page has a metric, and give all."""
    async with asyncio.timeout(PATIENCE_S):
        while name not in (values := await values_of(served)):  # noqa: ASYNC110 - nor does a page
            await asyncio.sleep(0.01)
    return values


async def lines_of(path: Path, is_enough: Callable[[list[str]], object]) -> list[str]:
    """Wait until a file has enough lines."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_enough(lines := _read(path)):  # noqa: ASYNC110 - a file tells nobody
            await asyncio.sleep(0.01)
    return lines


def _read(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.exists() else []


async def test_counts_requests_and_predictions(serve: Serve, make_mar: MakeMar) -> None:
    """As TorchServe does: by status on all ports, by model and the version that was asked for."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), metrics_mode="prometheus")
    for path in ("/predictions/noop", "/predictions/noop/1.0", "/predictions/gone"):
        await served.inference.post(path, content=b"x")
    await served.inference.post("/predictions/noop", content=b"x", headers={"do": "raise"})
    await served.management.get("/models")
    values = await values_of(served)

    assert values["Requests2XX"] == {("Host",): 3.0}
    assert values["Requests4XX"] == {("Host",): 1.0}
    assert values["Requests5XX"] == {("Host",): 1.0}
    assert values["ts_inference_requests_total"] == {
        ("noop", "default"): 2.0,
        ("noop", "1.0"): 1.0,
    }
    latencies = values["ts_inference_latency_microseconds"]
    assert latencies.keys() == {("noop", "default"), ("noop", "1.0")}
    assert latencies["noop", "default"] > values["ts_queue_latency_microseconds"]["noop", "default"]
    assert values["QueueTime"].keys() == values["WorkerThreadTime"].keys() == {("Host",)}
    # Ours are there as well, under our names.
    assert any(name.startswith("torchloom_queue_seconds") for name in values)


async def test_shows_the_names_that_are_asked_for(serve: Serve) -> None:
    """Of TorchServe's and of ours."""
    served = await serve(metrics_mode="prometheus")
    await served.management.get("/models")
    wanted = await values_of(served, "Requests2XX", "torchloom_requests_in_progress")

    assert wanted.keys() == {"Requests2XX", "torchloom_requests_in_progress"}
    assert await values_of(served, "Nonesuch") == {}


@pytest.mark.parametrize("command", ["", "ts/metrics/metric_collector.py --gpu 0"])
async def test_measures_the_host_unless_told_not_to(serve: Serve, command: str) -> None:
    """Right from the start; also where TorchServe's own script is named."""
    served = await serve(metrics_mode="prometheus", system_metrics_cmd=command)
    values = await values_with(served, "MemoryUtilization")
    assert 0 < values["MemoryUtilization"]["Host",] <= 100


async def test_has_a_script_of_python_measure_the_host(serve: Serve, tmp_path: Path) -> None:
    """A script need not be executable: Python runs it, as TorchServe has it."""
    script = tmp_path / "measure.py"
    line = "'CPUUtilization.Percent:' + sys.argv[1] + '|#Level:Host|'"
    script.write_text(f"import sys\nprint({line})\n")
    command = f"{script} 12.5"
    other = await serve(metrics_mode="prometheus", system_metrics_cmd=command)
    values = await values_with(other, "CPUUtilization")
    assert (values["CPUUtilization"]["Host",], "MemoryUsed" in values) == (12.5, False)


async def test_shows_what_handlers_measure(serve: Serve, tmp_path: Path) -> None:
    """What `metrics_config` declares, with its kind and unit."""
    path = tmp_path / "metrics.yaml"
    path.write_text(
        "ts_metrics: {}\nmodel_metrics:\n  histogram:\n"
        "    - {name: Took, unit: s, dimensions: [ModelName, Level]}\n"
    )
    served = await serve(metrics_mode="prometheus", metrics_config=path)
    readings = served.frontend.service.orchestrator.stats.readings
    labels = {"ModelName": "noop", "Level": "Model"}
    for name in ("Took", "Undeclared"):
        readings.add("noop", 1, [Sample(name, "gauge", "Milliseconds", labels, 7.0)])
    values = await values_of(served)

    assert values["Took_sum"] == {("noop", "Model"): 7.0}
    assert not {"Undeclared", "Requests2XX"} & values.keys()


async def test_serves_with_metrics_that_cannot_be_read(
    serve: Serve, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """TorchServe's own are used, and the log says what is wrong."""
    path = tmp_path / "metrics.yaml"
    path.write_text("ts_metrics: [")
    served = await serve(metrics_mode="prometheus", metrics_config=path)
    await served.management.get("/models")

    assert (await values_of(served))["Requests2XX"] == {("Host",): 1.0}
    assert "is no YAML" in caplog.text


async def test_writes_files_in_torchserves_forms(
    serve: Serve, make_mar: MakeMar, tmp_path: Path
) -> None:
    """Those that people parse."""
    make_mar("noop.mar")
    logs, metrics = tmp_path / "logs", tmp_path / "numbers"
    served = await serve(load_models=("noop.mar",), log_location=logs, metrics_location=metrics)
    await served.inference.post("/predictions/noop?a=b", content=b"x")
    await served.management.get("/models/gone")
    logging.getLogger("torchloom_api.anything").warning("said")
    access = await lines_of(logs / "access_log.log", lambda lines: len(lines) == 2)
    server = await lines_of(logs / "ts_log.log", lambda lines: any("said" in x for x in lines))
    numbers = await lines_of(metrics / "ts_metrics.log", lambda lines: "4XX" in str(lines))

    assert re.fullmatch(
        rf'{STAMP} - /127\.0\.0\.1:\d+ "POST /predictions/noop\?a=b HTTP/1\.1" 200 \d+', access[0]
    )
    assert re.fullmatch(rf'{STAMP} - /\S+ "GET /models/gone HTTP/1\.1" 404 \d+', access[1])
    assert any(
        re.fullmatch(rf"{STAMP} \[WARN \] main org\.pytorch\.serve\.anything - said", line)
        for line in server
    )
    tail = r"#hostname:[^,|]+,timestamp:\d+"
    model = r"#model_name:noop,model_version:default"
    expected = [
        rf"{STAMP} - ts_inference_requests_total\.Count:1\.0\|{model}\|{tail}",
        rf"{STAMP} - ts_inference_latency_microseconds\.Microseconds:[\d.E]+\|{model}\|{tail}",
        rf"{STAMP} - ts_queue_latency_microseconds\.Microseconds:[\d.E-]+\|{model}\|{tail}",
        rf"{STAMP} - Requests2XX\.Count:1\.0\|#Level:Host\|{tail}",
        rf"{STAMP} - Requests4XX\.Count:1\.0\|#Level:Host\|{tail}",
        rf"{STAMP} - QueueTime\.Milliseconds:\d+\.0\|#Level:Host\|{tail}",
    ]
    for pattern in expected:
        assert any(re.fullmatch(pattern, line) for line in numbers), (pattern, numbers)
    assert (metrics / "model_metrics.log").exists()
    assert (await served.metrics.get("/metrics")).content == b""


async def test_lets_two_servers_write_to_one_folder(serve: Serve, tmp_path: Path) -> None:
    """Each line is whole."""
    logs = tmp_path / "logs"
    servers = [
        await serve(log_location=logs, store=str(tmp_path / each), disable_system_metrics=True)
        for each in "ab"
    ]
    for number in range(50):
        for served in servers:
            await served.management.get(f"/models?limit={number}")
    lines = await lines_of(logs / "access_log.log", lambda lines: len(lines) == 100)

    pattern = re.compile(rf'{STAMP} - /\S+ "GET /models\?limit=\d+ HTTP/1\.1" 200 \d+')
    assert all(pattern.fullmatch(line) for line in lines)


async def test_serves_without_logs_that_cannot_be_written(
    serve: Serve, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The operator is told on standard error."""
    blocked = tmp_path / "logs"
    blocked.write_text("a file where the folder is to be")
    served = await serve(log_location=blocked)

    assert (await served.management.get("/models")).status_code == 200
    said = ""
    while "access_log.log cannot be written" not in said:
        said += capfd.readouterr().err
        await asyncio.sleep(0.01)


async def test_logs_by_a_configuration(serve: Serve, tmp_path: Path) -> None:
    """In place of TorchServe's own; without the console, where that is not wanted."""
    config = tmp_path / "log4j2.xml"
    config.write_text(
        f"<Configuration><Appenders><Console name='C'/><File name='F' fileName='{tmp_path}/own'>"
        "<PatternLayout pattern='%c %m%n'/></File></Appenders><Loggers><Root level='info'>"
        "<AppenderRef ref='C'/><AppenderRef ref='F'/></Root></Loggers></Configuration>"
    )
    served = await serve(
        log_location=tmp_path / "logs", log_config=config, disable_system_metrics=True
    )
    await served.management.get("/models")
    (line, *_) = await lines_of(tmp_path / "own", lambda lines: "ACCESS_LOG" in str(lines))

    assert re.fullmatch(r"\S+ .*", line)
    assert not (tmp_path / "logs").exists()


async def test_refuses_a_configuration_that_is_none(serve: Serve, tmp_path: Path) -> None:
    """The server does not start."""
    config = tmp_path / "log4j2.xml"
    config.write_text("<Configuration>")
    with pytest.raises(InvalidLogConfig, match="is no XML"):
        await serve(log_location=tmp_path / "logs", log_config=config)


async def test_writes_calls_of_grpc_to_the_access_log_alone(serve: Serve, tmp_path: Path) -> None:
    """They are in no counter of requests, as in TorchServe."""
    logs = tmp_path / "logs"
    served = await serve(log_location=logs, disable_system_metrics=True)
    path = "org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping"
    async with grpc.aio.insecure_channel(served.frontend.grpc_addresses["inference"]) as channel:
        await channel.unary_unary(f"/{path}")(b"")
    (line,) = await lines_of(logs / "access_log.log", bool)

    said = line.partition(" - ")[2]
    assert re.fullmatch(rf'/127\.0\.0\.1:\d+ "gRPC {path} HTTP/2\.0" 0 \d+', said), said
    assert not [x for x in (logs / "ts_log.log").read_text().splitlines() if "Requests" in x]


PREDICTED = Predicted(
    model="noop",
    version=None,
    number=1,
    request_id="x",
    status=200,
    seconds=0.05,
    queue_s=0.002,
    run_s=0.045,
)


async def test_takes_away_what_the_handler_took(serve: Serve) -> None:
    """WorkerThreadTime is what a worker takes beside its handler."""
    served = await serve(metrics_mode="prometheus")
    labels = {"ModelName": "noop", "Level": "Model"}
    readings = served.frontend.service.orchestrator.stats.readings
    readings.add("noop", 1, [Sample("PredictionTime", "gauge", "ms", labels, 30.0)])
    for listen in served.frontend.on_predicted:
        listen([PREDICTED])
    values = await values_of(served)

    assert values["WorkerThreadTime"]["Host",] == 15.0
    assert values["QueueTime"]["Host",] == 2.0
    assert values["ts_inference_latency_microseconds"]["noop", "default"] == 50_000.0
    assert values["ts_queue_latency_microseconds"]["noop", "default"] == 2_000.0
    assert values["ts_inference_requests_total"]["noop", "default"] == 1.0


async def test_takes_any_time_that_a_handler_says_that_it_took(serve: Serve) -> None:
    """Its time with the worker is what is left, if anything is: no prediction fails of it."""
    served = await serve(metrics_mode="prometheus")
    labels = {"ModelName": "noop", "Level": "Model"}
    readings = served.frontend.service.orchestrator.stats.readings
    for taken in (float("nan"), float("-inf"), float("inf"), 1e9):
        readings.add("noop", 1, [Sample("PredictionTime", "gauge", "ms", labels, taken)])
        for listen in served.frontend.on_predicted:
            listen([PREDICTED])
    values = await values_of(served)

    assert values["ts_inference_requests_total"]["noop", "default"] == 4.0
    assert values["WorkerThreadTime"]["Host",] == 0.0


async def test_counts_no_request_for_a_workflows_node(serve: Serve) -> None:
    """How long it took is counted, as TorchServe does."""
    served = await serve(metrics_mode="prometheus")
    told = replace(PREDICTED, model="w__noop", is_of_node=True)
    for listen in served.frontend.on_predicted:
        listen([told])
    values = await values_of(served)

    assert values["ts_inference_latency_microseconds"]["w__noop", "default"] == 50_000.0
    assert ("w__noop", "default") not in values.get("ts_inference_requests_total", {})
