"""Events become lines of files, and of the console."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import pytest

from torchloom_api.torchserve.telemetry import log_writer as log_writer_module
from torchloom_api.torchserve.telemetry.log_layout import LogEvent, make_pattern
from torchloom_api.torchserve.telemetry.log_plan import (
    Appender,
    LoggerRule,
    LogPlan,
    default_plan,
)
from torchloom_api.torchserve.telemetry.log_writer import ConsoleSink, LogWriter


def files_alone(folder: Path) -> LogPlan:
    """Give TorchServe's own plan without the console."""
    plan = default_plan(folder, folder / "metrics")
    appenders = {name: each for name, each in plan.appenders.items() if each.path}
    return LogPlan(appenders=appenders, rules=plan.rules)


def told(logger: str, message: str) -> LogEvent:
    """Give an event of now."""
    return LogEvent(logger, "INFO", "main", time.time(), message)


def test_writes_each_event_to_its_files(tmp_path: Path) -> None:
    """All five are there from the start, and complete at the end."""
    with LogWriter(files_alone(tmp_path)) as writer:
        names = sorted(path.name for path in tmp_path.rglob("*.log"))
        writer.write([told("ACCESS_LOG", f"/127.0.0.1:1 {number}") for number in range(1000)])
        writer.write([told("TS_METRICS", "a.b:1.0")])
    access = (tmp_path / "access_log.log").read_text().splitlines()

    assert names == [
        *("access_log.log", "model_log.log", "model_metrics.log", "ts_log.log", "ts_metrics.log")
    ]
    assert [line.rpartition(" ")[2] for line in access] == [str(n) for n in range(1000)]
    assert (tmp_path / "metrics" / "ts_metrics.log").read_text().endswith(" - a.b:1.0\n")
    assert (tmp_path / "ts_log.log").read_text().count("\n") == 1001


def test_serves_without_files_that_cannot_be_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """It is told once, with the reason; other files are written."""
    (tmp_path / "metrics").write_text("a file where the folder is to be")
    with LogWriter(files_alone(tmp_path)) as writer:
        for _ in range(3):
            writer.write([told("TS_METRICS", "a.b:1.0")])
    said = capsys.readouterr().err.splitlines()

    assert len(said) == 2
    assert "metrics.log cannot be written: [Errno 17] File exists" in said[0]
    assert (tmp_path / "ts_log.log").read_text().count("a.b:1.0") == 3


def test_waits_for_nobody_to_read_a_pipe(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A pipe in the place of a log is written when somebody reads it; other files always."""
    monkeypatch.setattr(log_writer_module, "_RETRY_S", 0.0)
    pipe = tmp_path / "access_log.log"
    os.mkfifo(pipe)
    with LogWriter(files_alone(tmp_path)) as writer:
        writer.write([told("ACCESS_LOG", "unheard")])
        reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
        writer.write([told("ACCESS_LOG", "heard")])
        heard = os.read(reading, 1000)
    os.close(reading)

    assert heard.endswith(b" - heard\n")
    assert "access_log.log cannot be written" in capsys.readouterr().err
    assert (tmp_path / "ts_log.log").read_text().count("heard") == 2


def test_waits_for_a_pipe_whose_reader_is_slow(tmp_path: Path) -> None:
    """More is written at once than a pipe holds; all of it comes, in order."""
    pipe = tmp_path / "access_log.log"
    os.mkfifo(pipe)
    reading = os.open(pipe, os.O_RDONLY | os.O_NONBLOCK)
    os.set_blocking(reading, True)
    heard: list[bytes] = []
    reader = threading.Thread(
        target=lambda: heard.extend(iter(lambda: os.read(reading, 1000), b""))
    )
    with LogWriter(files_alone(tmp_path)) as writer:
        reader.start()
        writer.write([told("ACCESS_LOG", f"{number:0200}") for number in range(1500)])
    reader.join()
    os.close(reading)

    lines = b"".join(heard).decode().splitlines()
    assert [int(line.rpartition(" ")[2]) for line in lines] == list(range(1500))


def test_does_not_wait_for_a_console_that_nobody_reads() -> None:
    """A pipe that is full takes nothing; what there is room for is written whole."""
    reading, writing = os.pipe()
    try:
        sink = ConsoleSink(writing, patience_s=0.0)
        sink.write(b"x" * (1 << 20))
        sink.write(b"y" * 4096)
        taken = os.read(reading, 1 << 20)
        sink.write(b"z\n")
        assert os.read(reading, 10) == b"z\n"
    finally:
        os.close(reading)
        os.close(writing)
    assert 0 < len(taken) < 1 << 20
    assert set(taken) == {ord("x")}


def test_shares_a_file_between_appenders(tmp_path: Path) -> None:
    """Two of one path write to one file."""
    layout = make_pattern("%m%n")
    path = tmp_path / "both.log"
    plan = LogPlan(
        appenders={name: Appender(name=name, layout=layout, path=path) for name in "ab"},
        rules={"": LoggerRule(level=0, appenders=("a", "b"))},
    )
    with LogWriter(plan) as writer:
        writer.write([told("any", "line")])

    assert path.read_text() == "line\nline\n"
