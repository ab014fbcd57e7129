"""Events are written by a process of their own, whatever happens to it or to the server."""

from __future__ import annotations

import contextlib
import logging
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest

from torchloom_api.torchserve.telemetry import log_feed as log_feed_module
from torchloom_api.torchserve.telemetry.log_feed import LogFeed
from torchloom_api.torchserve.telemetry.log_order import LogOrder
from torchloom_api.torchserve.telemetry.python_logs import take_logs


def wait_until(is_it: Callable[[], bool]) -> None:
    """Wait until something is so; what never is, is the test's time limit's."""
    while not is_it():
        time.sleep(0.01)


def to_order(folder: Path, *, is_on_console: bool = False) -> LogOrder:
    """Order TorchServe's own files."""
    return LogOrder(logs=str(folder), metrics=str(folder / "metrics"), is_on_console=is_on_console)


def log_processes() -> list[psutil.Process]:
    """Give the processes that write logs for this one."""
    children = psutil.Process().children()
    return [each for each in children if "log_process" in " ".join(each.cmdline())]


def killed() -> None:
    """Kill the process that writes the logs."""
    (process,) = log_processes()
    process.kill()
    process.wait()


def test_writes_all_that_it_was_given(tmp_path: Path) -> None:
    """In order, from before its start to its end."""
    feed = LogFeed(to_order(tmp_path), pause_s=0.0)
    feed.log("ACCESS_LOG", "0")
    with feed:
        for number in range(1, 5000):
            feed.log("ACCESS_LOG", str(number))
    lines = (tmp_path / "access_log.log").read_text().splitlines()

    assert [line.rpartition(" ")[2] for line in lines] == [str(n) for n in range(5000)]


def test_writes_a_line_for_each_value(tmp_path: Path) -> None:
    """Of one moment, in order, and with Java's numbers; also of a name that no text can hold."""
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        texts = [("A.Count:", "|#a:b,"), ("B\udc80.ms:", "|#,")]
        feed.measure("TS_METRICS", [(texts, [1e9, 2.0])])
    lines = (tmp_path / "metrics" / "ts_metrics.log").read_text().splitlines()

    first, second = (line.partition(" - ")[2].partition("timestamp:") for line in lines)
    assert (first[0], second[0]) == ("A.Count:1.0E9|#a:b,", "B?.ms:2.0|#,")
    assert first[2] == second[2]


def test_takes_what_python_logs(tmp_path: Path) -> None:
    """Our own loggers are below TorchServe's name; traces follow their message."""
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed, take_logs(feed):
        logging.getLogger("torchloom_api.torchserve.server").warning("said %d", 1)
        try:
            _ = 1 / 0
        except ZeroDivisionError:
            logging.getLogger("elsewhere").exception("oh")
    first, second, *trace = (tmp_path / "ts_log.log").read_text().splitlines()

    assert first.endswith(" [WARN ] main org.pytorch.serve.torchserve.server - said 1")
    assert second.endswith(" [ERROR] main elsewhere - oh")
    assert trace[-1] == "ZeroDivisionError: division by zero"


def test_writes_what_no_text_can_hold(tmp_path: Path) -> None:
    """A file's name may have half a surrogate in it; the line is there, and those beside it."""
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        feed.log("ACCESS_LOG", "name \udc80")
        feed.log("MODEL_LOG", "said", thread="W-9000-\ud800_1.0-stdout")
        feed.log("ACCESS_LOG", "näme")
    lines = (tmp_path / "access_log.log").read_text("utf-8").splitlines()

    assert [line.rpartition(" - ")[2] for line in lines] == ["name ?", "näme"]


def test_leaves_out_what_is_too_much(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Memory is bounded; how many were left out is told."""
    monkeypatch.setattr(log_feed_module, "_MAX_WAITING", 10)
    feed = LogFeed(to_order(tmp_path), pause_s=0.0)
    for number in range(25):
        feed.log("ACCESS_LOG", str(number))
    with feed:
        pass

    assert (tmp_path / "access_log.log").read_text().count("\n") == 10
    assert "15 lines of the log came too fast" in capfd.readouterr().err


def test_starts_another_process_for_one_that_was_killed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """What comes later is written; the operator is told."""
    monkeypatch.setattr(log_feed_module, "_RETRY_S", 0.0)
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        feed.log("ACCESS_LOG", "before")
        path = tmp_path / "access_log.log"
        wait_until(lambda: path.exists() and "before" in path.read_text())
        killed()
        feed.log("ACCESS_LOG", "after")

    assert [line.rpartition(" ")[2] for line in path.read_text().splitlines()] == [
        *("before", "after")
    ]
    assert "writes the logs has ended" in capfd.readouterr().err


def test_keeps_what_comes_until_another_process_takes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another is not started at once: nothing is lost meanwhile, also if nothing more comes."""
    monkeypatch.setattr(log_feed_module, "_RETRY_S", 0.5)
    path = tmp_path / "access_log.log"
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        killed()
        for number in range(3000):
            feed.log("ACCESS_LOG", str(number))
        wait_until(lambda: path.exists() and path.read_text().count("\n") == 3000)

    lines = path.read_text().splitlines()
    assert [line.rpartition(" ")[2] for line in lines] == [str(n) for n in range(3000)]


def test_writes_what_came_before_the_end_although_its_process_was_killed(tmp_path: Path) -> None:
    """At the end another one is started at once."""
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        killed()
        feed.log("ACCESS_LOG", "last")

    assert "last" in (tmp_path / "access_log.log").read_text()


def test_goes_on_where_the_operator_hears_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever read standard error may have left."""
    monkeypatch.setattr(log_feed_module, "_RETRY_S", 0.0)
    reading, writing = os.pipe()
    os.close(reading)
    path = tmp_path / "access_log.log"
    with os.fdopen(writing, "w", buffering=1) as nobody:
        monkeypatch.setattr(sys, "stderr", nobody)
        with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
            killed()
            feed.log("ACCESS_LOG", "after")
            wait_until(lambda: path.exists() and "after" in path.read_text())
        monkeypatch.undo()
        with contextlib.suppress(BrokenPipeError):
            nobody.close()


def test_ends_although_its_process_takes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be stopped, or its disk may hang: the server ends nevertheless, and so does it."""
    monkeypatch.setattr(log_feed_module, "_END_S", 0.2)
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        (process,) = log_processes()
        process.suspend()
        for _ in range(100):
            feed.log("ACCESS_LOG", "x" * 10_000)

    assert not process.is_running()


def test_holds_no_more_text_than_it_may(tmp_path: Path) -> None:
    """Few lines may be long ones."""
    feed = LogFeed(to_order(tmp_path))
    line = "x" * (1 << 20)
    for _ in range(100):
        feed.log("ACCESS_LOG", line)

    assert feed.num_lost == 100 - 64


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_signals_of_the_group_lose_no_line(tmp_path: Path, number: signal.Signals) -> None:
    """Control-C in a terminal reaches the process, too: it goes on until its server has ended."""
    with LogFeed(to_order(tmp_path), pause_s=0.0) as feed:
        feed.log("ACCESS_LOG", "before")
        path = tmp_path / "access_log.log"
        wait_until(lambda: path.exists() and "before" in path.read_text())
        for each in log_processes():
            each.send_signal(number)
        feed.log("ACCESS_LOG", "after")

    assert path.read_text().count("\n") == 2


def test_ends_with_a_server_that_was_killed(tmp_path: Path) -> None:
    """What it was sent by then is written, and no process stays behind."""
    server = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(tmp_path)], stdout=subprocess.PIPE, text=True
    )
    assert server.stdout is not None
    pid = int(server.stdout.readline())
    path = tmp_path / "access_log.log"
    wait_until(lambda: path.exists() and path.read_text().count("\n") == 3)
    server.send_signal(signal.SIGKILL)
    server.wait()
    server.stdout.close()

    wait_until(lambda: not psutil.pid_exists(pid) or _is_gone(pid))
    assert path.read_text().count("\n") == 3


def _is_gone(pid: int) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True


_SERVER = """
import sys, time, psutil
from torchloom_api.torchserve.telemetry.log_feed import LogFeed
from torchloom_api.torchserve.telemetry.log_order import LogOrder

with LogFeed(LogOrder(logs=sys.argv[1], metrics=sys.argv[1]), pause_s=0.0) as feed:
    for number in range(3):
        feed.log("ACCESS_LOG", str(number))
    print(psutil.Process().children()[0].pid, flush=True)
    time.sleep(60)
"""
