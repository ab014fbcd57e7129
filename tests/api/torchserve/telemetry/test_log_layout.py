"""Lines of logs."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from torchloom_api.torchserve.telemetry.log_layout import (
    InvalidLayout,
    JsonLayout,
    Layout,
    LogEvent,
    make_pattern,
)


EVENT = LogEvent(
    "MODEL_LOG", "INFO", "W-9000-noop_1.0-stdout", 1795356890.293, 'says "100%"\nand more'
)


@pytest.fixture(autouse=True)
def _utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.parametrize(
    ("pattern", "line"),
    [
        ("%d{ISO8601} - %m%n", '2026-11-22T14:14:50,293 - says "100%"\nand more\n'),
        (
            "%d{ISO8601} [%-5p] %t %c - %m%n",
            (
                "2026-11-22T14:14:50,293 [INFO ] W-9000-noop_1.0-stdout MODEL_LOG - "
                'says "100%"\nand more\n'
            ),
        ),
        ("%d %5level|%n", "2026-11-22 14:14:50,293  INFO|\n"),
        ("%d{dd/MM/yy HH'h'mm.ss.SSS} %logger%%", "22/11/26 14h14.50.293 MODEL_LOG%"),
        ("%date{ABSOLUTE}%thread%ex", "14:14:50,293W-9000-noop_1.0-stdout"),
        ("%pabc 100% %n", "INFOabc 100% \n"),
    ],
)
def test_writes_by_a_pattern(pattern: str, line: str) -> None:
    """The conversions that TorchServe's configurations use."""
    assert make_pattern(pattern)(EVENT) == line


@pytest.mark.parametrize("pattern", ["%highlight{%m}", "%d{QQQ}", "%X{id}"])
def test_refuses_what_it_does_not_know(pattern: str) -> None:
    """Rather than write something else."""
    with pytest.raises(InvalidLayout, match=re.escape("not known")):
        make_pattern(pattern)


def test_writes_each_second_anew() -> None:
    """What is kept for a second is kept for no longer."""
    layout = make_pattern("%d{ABSOLUTE}")
    moments = (0.0, 0.999, 1.0, 0.5)

    assert [layout(LogEvent("a", "INFO", "t", at, "")) for at in moments] == [
        *("00:00:00,000", "00:00:00,999", "00:00:01,000", "00:00:00,500")
    ]


@pytest.mark.parametrize(
    "layout",
    [
        *map(
            make_pattern, ("%d{ISO8601} - %m%n", "%m%n", "%m of %c: %m%n", "%-9m|%.3msg%n", "%p%n")
        ),
        JsonLayout(),
    ],
)
def test_writes_messages_that_differ_as_if_each_came_alone(layout: Layout) -> None:
    """Also such as a pattern could be taken to mean something by, and as JSON quotes."""
    messages = ["one", 'two "%s" %d', "", "th\\ree"]
    alone = [layout(replace(EVENT, message=message)) for message in messages]

    assert layout.write_all(EVENT, messages) == "".join(alone)


def test_writes_json() -> None:
    """One object, on one line."""
    line = JsonLayout()(EVENT)

    assert line.count("\n") == 1
    assert json.loads(line) == {
        "timestamp": "2026-11-22T14:14:50,293",
        "level": "INFO",
        "thread": "W-9000-noop_1.0-stdout",
        "logger": "MODEL_LOG",
        "message": 'says "100%"\nand more',
    }
