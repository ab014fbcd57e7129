"""Reading `--log-config`."""

from __future__ import annotations

from pathlib import Path

import pytest

from torchloom_api.torchserve.telemetry.log4j import InvalidLogConfig, read_log_config
from torchloom_api.torchserve.telemetry.log_layout import LogEvent


EVENT = LogEvent("ACCESS_LOG", "INFO", "main", 0.0, "hello")

CONFIG = """\
<?xml version="1.0" encoding="UTF-8"?>
<Configuration>
  <Properties><Property name="where">${env:LOG_LOCATION:-logs}</Property></Properties>
  <Appenders>
    <RollingFile name="access" fileName="${where}/access.log"
        filePattern="${where}/access.%d{yyyy-MM-dd}.%i.log">
      <PatternLayout pattern="%p %m%n"/>
      <Policies><SizeBasedTriggeringPolicy size="1.5 KB"/><TimeBasedTriggeringPolicy/></Policies>
      <DefaultRolloverStrategy max="3"/>
      <ThresholdFilter level="warn"/>
    </RollingFile>
    <File name="json" fileName="${env:ABSENT:-here}/all.json"><JsonLayout/></File>
    <Console name="STDOUT" target="SYSTEM_OUT"><PatternLayout><Pattern>%m</Pattern></PatternLayout>
    </Console>
    <Async name="later"><AppenderRef ref="json"/></Async>
  </Appenders>
  <Loggers>
    <Logger name="ACCESS_LOG" level="info" additivity="false"><AppenderRef ref="access"/></Logger>
    <AsyncRoot level="error"><AppenderRef ref="STDOUT"/><AppenderRef ref="later"/></AsyncRoot>
  </Loggers>
</Configuration>
"""


def read(tmp_path: Path, text: str = CONFIG) -> tuple[object, list[str]]:
    """Write it, and read it."""
    path = tmp_path / "log4j2.xml"
    path.write_text(text)
    return read_log_config(path, {"LOG_LOCATION": "mine"}, Path("/base"))


def test_reads_appenders(tmp_path: Path) -> None:
    """Files, when they are put aside, and how lines look; variables are filled in."""
    path = tmp_path / "log4j2.xml"
    path.write_text(CONFIG)
    plan, notes = read_log_config(path, {"LOG_LOCATION": "mine"}, Path("/base"))
    access, rolling = plan.appenders["access"], plan.appenders["access"].rolling

    assert notes == []
    assert access.path == Path("/base/mine/access.log")
    assert access.layout(EVENT) == "INFO hello\n"
    assert rolling.pattern == "/base/mine/access.%d{yyyy-MM-dd}.%i.log"
    assert (rolling.max_bytes, rolling.is_daily, rolling.max_files) == (1536, True, 3)
    assert plan.appenders["json"].path == Path("/base/here/all.json")
    assert '"message": "hello"' in plan.appenders["json"].layout(EVENT)
    assert plan.appenders["STDOUT"].path is None
    assert plan.appenders["STDOUT"].layout(EVENT) == "hello"


def test_reads_loggers(tmp_path: Path) -> None:
    """Levels and thresholds count, and what stands for another is that one."""
    path = tmp_path / "log4j2.xml"
    path.write_text(CONFIG)
    plan, _ = read_log_config(path, {}, Path("/base"))

    assert not plan.route("ACCESS_LOG", "INFO")
    assert [each.name for each in plan.route("ACCESS_LOG", "WARN")] == ["access"]
    assert [each.name for each in plan.route("other", "ERROR")] == ["STDOUT", "json"]
    assert not plan.route("other", "WARN")


@pytest.mark.parametrize(
    ("old", "new", "note"),
    [
        ("<Appenders>", "<Scripts/><Appenders>", "<Scripts> is passed over"),
        ("<File ", '<Kafka name="k"/><File ', "'k' (<Kafka>) writes nothing"),
        ('fileName="${env:ABSENT:-here}/all.json"', "", "'json' has no fileName"),
        ("%p %m%n", "%highlight{%m}", "%highlight, which is not known"),
        ("<JsonLayout/>", "<QLogLayout/>", "<QLogLayout> of 'json' is not known"),
        ("<JsonLayout/>", "<JSONPatternLayout/>", "<JSONPatternLayout> of 'json': one JSON"),
        ("1.5 KB", "lots", "the size 'lots' of 'access' is passed over"),
        ("{yyyy-MM-dd}", "{QQ}", "'access' keeps no older files"),
        ("<TimeBasedTriggeringPolicy/>", "<OnStartupTriggeringPolicy/>", "is passed over"),
        ('ref="later"', 'ref="gone"', "'Root' names 'gone': nothing there"),
        ('level="info"', 'level="loud"', "the level 'loud' of 'ACCESS_LOG' is not known"),
    ],
)
def test_says_what_it_passes_over(tmp_path: Path, old: str, new: str, note: str) -> None:
    """Each by name."""
    assert old in CONFIG
    _, notes = read(tmp_path, CONFIG.replace(old, new, 1))

    assert any(note in each for each in notes), notes


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("<Configuration>", "is no XML"),
        ("<Other/>", "has no <Configuration>"),
        ('<!DOCTYPE a [<!ENTITY b "c">]><Configuration/>', "defines entities"),
        (f"<Configuration>{' ' * (1 << 20)}</Configuration>", "too large"),
    ],
)
def test_refuses_what_is_no_configuration(tmp_path: Path, text: str, fault: str) -> None:
    """The server does not start with it."""
    with pytest.raises(InvalidLogConfig, match=fault):
        read(tmp_path, text)


def test_refuses_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    """It says why."""
    with pytest.raises(InvalidLogConfig, match="cannot be read: Is a directory"):
        read_log_config(tmp_path)


def test_reads_an_empty_configuration(tmp_path: Path) -> None:
    """Nothing is logged."""
    plan, notes = read_log_config(_write(tmp_path, "<Configuration/>"))

    assert (notes, list(plan.appenders)) == ([], [])
    assert not plan.route("any", "ERROR")


def _write(folder: Path, text: str) -> Path:
    path = folder / "log4j2.xml"
    path.write_text(text)
    return path
