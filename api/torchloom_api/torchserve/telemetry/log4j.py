"""Reading `--log-config`: as much of log4j2's XML as makes sense here; the rest is told.

Appenders: Console, File, RollingFile and RollingRandomAccessFile, and Async, which stands for those
that it names. Layouts: PatternLayout, and JSON. Policies by size and by day. Loggers and their
levels.
"""

from __future__ import annotations

import os
import re
import xml.etree.ElementTree as ET
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.telemetry.log_layout import (
    InvalidLayout,
    JsonLayout,
    Layout,
    make_pattern,
)
from torchloom_api.torchserve.telemetry.log_plan import (
    LEVELS,
    Appender,
    LoggerRule,
    LogPlan,
    Rolling,
)
from torchloom_api.torchserve.telemetry.rolling_file import check_pattern


#: log4j's own pattern where a layout has none.
_PLAIN: Final = "%d{ISO8601} [%-5p] %t %c - %m%n"

_FILES: Final = frozenset({"file", "rollingfile", "rollingrandomaccessfile", "randomaccessfile"})
_JSON: Final = frozenset({"jsonlayout", "jsontemplatelayout", "jsonpatternlayout"})

_SIZE: Final = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([KMGT]?)B?\s*", re.IGNORECASE)
_LOOKUP: Final = re.compile(r"\$\{(?:(env|sys):)?([^}:]+)(?::-([^}]*))?\}")

_MAX_BYTES: Final = 1 << 20


class InvalidLogConfig(InvalidSettings):
    """A `--log-config` that is no configuration of log4j2."""

    title = "Invalid log configuration"


class _Reader:
    """Reads one document; what it passes over is in `notes`."""

    def __init__(self, root: ET.Element, environment: Mapping[str, str], folder: Path) -> None:
        self.notes: list[str] = []
        self._root = root
        self._folder = folder
        self._environment = environment
        self._properties: dict[str, str] = {}
        #: Async appender → those that it stands for.
        self._behind: dict[str, tuple[str, ...]] = {}

    def read(self) -> LogPlan:
        for part in self._root:
            if _tag(part) not in {"properties", "appenders", "loggers"}:
                self.notes.append(f"<{_name_of(part)}> is passed over")
        for each in self._parts("properties"):
            self._properties[each.get("name", "")] = self._fill((each.text or "").strip())
        appenders = dict(self._read_appenders())
        rules = dict(self._read_rules(appenders))
        rules.setdefault("", LoggerRule(level=LEVELS["ERROR"]))
        return LogPlan(appenders=appenders, rules=rules)

    def _parts(self, tag: str) -> Iterator[ET.Element]:
        for part in self._root:
            if _tag(part) == tag:
                yield from part

    def _read_appenders(self) -> Iterator[tuple[str, Appender]]:
        for each in self._parts("appenders"):
            name, tag = self._get(each, "name"), _tag(each)
            if tag == "async":
                self._behind[name] = tuple(self._references(each))
            elif tag == "console" or tag in _FILES:
                path = self._path_of(each, name) if tag in _FILES else None
                if tag == "console" or path is not None:
                    yield name, self._make(each, name, path)
            else:
                self.notes.append(f"the appender {name!r} (<{_name_of(each)}>) writes nothing")

    def _path_of(self, element: ET.Element, name: str) -> Path | None:
        text = self._get(element, "fileName")
        if not text:
            self.notes.append(f"the appender {name!r} has no fileName, and writes nothing")
            return None
        return self._folder / text

    def _make(self, element: ET.Element, name: str, path: Path | None) -> Appender:
        return Appender(
            name=name,
            layout=self._layout_of(element, name),
            path=path,
            rolling=self._rolling_of(element, name),
            level=self._threshold_of(element, name),
        )

    def _layout_of(self, element: ET.Element, name: str) -> Layout:
        for each in element:
            tag = _tag(each)
            if tag == "patternlayout":
                pattern = self._get(each, "pattern") or (each.findtext("Pattern") or _PLAIN)
                try:
                    return make_pattern(pattern)
                except InvalidLayout as error:
                    self.notes.append(f"the appender {name!r}: {error.message}")
            elif tag in _JSON:
                if tag != "jsonlayout":
                    self.notes.append(f"<{_name_of(each)}> of {name!r}: one JSON object a line")
                return JsonLayout()
            elif tag.endswith("layout"):
                self.notes.append(f"<{_name_of(each)}> of {name!r} is not known: a plain pattern")
        return make_pattern(_PLAIN)

    def _rolling_of(self, element: ET.Element, name: str) -> Rolling:
        size: int | None = None
        is_daily = False
        most = 7
        for each in element.iter():
            tag = _tag(each)
            if tag == "sizebasedtriggeringpolicy":
                size = self._size(self._get(each, "size"), name)
            elif tag == "timebasedtriggeringpolicy":
                is_daily = True
            elif tag == "defaultrolloverstrategy":
                text = self._get(each, "max") or str(most)
                most = int(text) if text.isdecimal() and int(text) else most
            elif tag.endswith(("policy", "strategy", "filter")) and tag != "thresholdfilter":
                self.notes.append(f"<{_name_of(each)}> of {name!r} is passed over")
        pattern = self._get(element, "filePattern")
        try:
            check_pattern(pattern)
        except InvalidLayout as error:
            self.notes.append(f"the appender {name!r} keeps no older files: {error.message}")
            pattern = ""
        return Rolling(
            pattern=str(self._folder / pattern) if pattern else None,
            max_bytes=size,
            is_daily=is_daily,
            max_files=most,
        )

    def _size(self, text: str, name: str) -> int | None:
        match = _SIZE.fullmatch(text)
        if match is None:
            self.notes.append(f"the size {text!r} of {name!r} is passed over")
            return None
        return max(1, int(float(match[1]) * 1024 ** " KMGT".index(match[2].upper() or " ")))

    def _threshold_of(self, element: ET.Element, name: str) -> int:
        for each in element.iter():
            if _tag(each) == "thresholdfilter":
                return self._level(self._get(each, "level"), name) or 0
        return 0

    def _read_rules(self, appenders: Mapping[str, Appender]) -> Iterator[tuple[str, LoggerRule]]:
        for each in self._parts("loggers"):
            is_root = _tag(each) in {"root", "asyncroot"}
            name = "" if is_root else self._get(each, "name")
            wanted = [a for r in self._references(each) for a in self._behind.get(r, (r,))]
            for missing in sorted(set(wanted) - appenders.keys()):
                self.notes.append(f"the logger {name or 'Root'!r} names {missing!r}: nothing there")
            level = self._get(each, "level")
            yield (
                name,
                LoggerRule(
                    level=self._level(level, name or "Root") if level else None,
                    appenders=tuple(a for a in wanted if a in appenders),
                    is_additive=self._get(each, "additivity").lower() != "false",
                ),
            )

    def _references(self, element: ET.Element) -> Iterator[str]:
        for each in element:
            if _tag(each) in {"appenderref", "appender-ref"}:
                yield self._get(each, "ref")

    def _level(self, text: str, owner: str) -> int | None:
        level = LEVELS.get(text.upper())
        if level is None:
            self.notes.append(f"the level {text!r} of {owner!r} is not known")
        return level

    def _get(self, element: ET.Element, name: str) -> str:
        """Give an attribute, whatever the case of its name, with what stands for variables."""
        found = (v for key, v in element.attrib.items() if key.lower() == name.lower())
        return self._fill(next(found, ""))

    def _fill(self, text: str) -> str:
        def find(match: re.Match[str]) -> str:
            kind, name, default = match.groups()
            known = self._properties if kind is None else self._environment
            return known.get(name, match[0] if default is None else default)

        return _LOOKUP.sub(find, text)


def _name_of(element: ET.Element) -> str:
    return str(element.tag).rpartition("}")[2]


def _tag(element: ET.Element) -> str:
    return _name_of(element).lower()


def read_log_config(
    path: Path, environment: Mapping[str, str] = os.environ, folder: Path | None = None
) -> tuple[LogPlan, list[str]]:
    """Read a file; gives the plan, and what is passed over. Raises InvalidLogConfig.

    What the file names is looked for in `folder`, or where the process is.
    """
    try:
        data = path.read_bytes()[: _MAX_BYTES + 1]
    except OSError as error:
        message = f"The log configuration {str(path)!r} cannot be read: {error.strerror or error}."
        raise InvalidLogConfig(message) from error
    if len(data) > _MAX_BYTES or b"<!ENTITY" in data:
        message = f"The log configuration {str(path)!r} is too large, or defines entities."
        raise InvalidLogConfig(message)
    try:
        root = ET.fromstring(data)  # noqa: S314 - the operator's own file, without entities
    except ET.ParseError as error:
        message = f"The log configuration {str(path)!r} is no XML: {error}."
        raise InvalidLogConfig(message) from error
    if _tag(root) != "configuration":
        message = f"The log configuration {str(path)!r} has no <Configuration>."
        raise InvalidLogConfig(message)
    reader = _Reader(root, environment, Path.cwd() if folder is None else folder)
    return reader.read(), reader.notes
