"""Loader: YAML or JSON text to a Document, bounded in size, depth and aliases.

Knows nothing of workflows and models: it serves both kinds of file.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from torchloom.document import Document, pointer_to
from torchloom.errors import Fault, InvalidModel, InvalidWorkflow
from torchloom_workflows.syntax import BadSyntax, Event, read_events


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """How much a file may hold. Aliases count as often as they are used."""

    max_bytes: int = 1 << 20
    max_depth: int = 32
    max_values: int = 20_000
    max_faults: int = 100


def load_document(
    text: str | bytes,
    file: str | None = None,
    *,
    limits: Limits | None = None,
    error: type[InvalidWorkflow | InvalidModel] = InvalidWorkflow,
) -> Document:
    """Read one YAML or JSON document, with the place of each key and value.

    Plain words are read as YAML 1.2 does: only `true` and `false` are booleans. Refused, all at
    once where the text allows: text that is too long, too deep or malformed; keys that are no
    strings or come twice; tags; numbers that are not finite; merge keys; a second document. `file`
    names the text in messages. Raises `error`, with every fault.
    """
    limits = limits or Limits()
    tree = _Tree(file=file, limits=limits)
    tree.read(text)
    if tree.faults:
        what = file or "The document"
        count = f"{len(tree.faults)} faults" if len(tree.faults) > 1 else "a fault"
        raise error(f"{what} cannot be read: {count}.", faults=tree.faults)
    return Document(data=tree.root, file=file, marks=tree.marks, key_marks=tree.key_marks)


class _Stop(Exception):
    """Reading ends here."""


@dataclass(slots=True)
class _Level:
    """A list or mapping that is still open."""

    value: dict[str, object] | list[object]
    pointer: str
    anchor: str | None = None
    num_values_before: int = 0
    key: str | None = None
    num_bad_keys: int = 0
    height: int = 1


@dataclass(frozen=True, slots=True)
class _Anchored:
    """A value that aliases may repeat; `height` is how many levels deep it is."""

    value: object
    num_values: int = 1
    height: int = 0


@dataclass(slots=True, kw_only=True)
class _Tree:
    """Grows from events. After a fault it goes on, as long as places and limits allow."""

    file: str | None
    limits: Limits
    root: object = None
    marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    key_marks: dict[str, tuple[int, int]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    levels: list[_Level] = field(default_factory=list)
    anchors: dict[str, _Anchored] = field(default_factory=dict)
    num_values: int = 0
    num_documents: int = 0

    def read(self, text: str | bytes) -> None:
        try:
            for event in read_events(self._decode(text)):
                self._take(event)
        except _Stop:
            return
        except BadSyntax as bad:
            self._complain(str(bad), bad.line, bad.column, is_last=True)
        except UnicodeEncodeError:
            message = "The text holds half of a surrogate pair, which is no character."
            self._complain(message, is_last=True)
        if not self.marks and not self.faults:
            self._complain("The document is empty.", is_last=True)

    def _decode(self, text: str | bytes) -> str:
        num_bytes = len(text if isinstance(text, bytes) else text.encode("utf-8", "surrogatepass"))
        if num_bytes > self.limits.max_bytes:
            self._complain(f"{num_bytes} bytes are too many; {self.limits.max_bytes} are allowed.")
            raise _Stop
        if isinstance(text, str):
            return text.removeprefix("\ufeff")
        try:
            return text.decode("utf-8-sig")
        except UnicodeDecodeError as bad:
            self._complain("The text is not UTF-8.", text.count(b"\n", 0, bad.start) + 1)
            raise _Stop from bad

    def _take(self, event: Event) -> None:
        if event.complaint:
            self._complain(event.complaint, event.line, event.column)
        level = self.levels[-1] if self.levels else None
        if event.kind == "document":
            self._start_document(event)
        elif event.kind == "close":
            self._close()
        elif level is not None and isinstance(level.value, dict) and level.key is None:
            self._take_key(level, event)
        elif event.kind == "alias":
            self._take_alias(event)
        else:
            self._take_value(event)

    def _start_document(self, event: Event) -> None:
        self.num_documents += 1
        if self.num_documents > 1:
            message = "A second document starts here; a file holds one. Make it two files."
            self._complain(message, event.line, event.column)
            raise _Stop

    def _close(self) -> None:
        level = self.levels.pop()
        if level.anchor is not None:
            num_values = self.num_values - level.num_values_before
            self.anchors[level.anchor] = _Anchored(level.value, num_values, level.height)
        self._raise_height(level.height)

    def _raise_height(self, height: int) -> None:
        if self.levels:
            self.levels[-1].height = max(self.levels[-1].height, height + 1)

    def _take_key(self, level: _Level, event: Event) -> None:
        problem = _key_problem(level, event)
        if problem:
            self._complain(problem, event.line, event.column)
            level.num_bad_keys += 1
            level.key = f"\0{level.num_bad_keys}"
        else:
            level.key = str(event.value)
            self.key_marks[level.pointer + pointer_to(level.key)] = (event.line, event.column)
        if event.kind in ("open_map", "open_list"):
            self._skip_key(event)

    def _skip_key(self, event: Event) -> None:
        # The list or mapping that stands as a key is read and dropped, so that reading can go on.
        open_level = _Level([] if event.kind == "open_list" else {}, "\0")
        self.levels.append(open_level)
        self._check_limits(event)

    def _take_alias(self, event: Event) -> None:
        name = str(event.value)
        if name not in self.anchors:
            is_open = any(level.anchor == name for level in self.levels)
            why = "stands inside of what it names" if is_open else "names nothing above it"
            self._complain(f"The alias '*{name}' {why}.", event.line, event.column)
        anchored = self.anchors.get(name, _Anchored(None))
        self.num_values += anchored.num_values
        self._check_limits(event, anchored.height)
        self._raise_height(anchored.height)
        self._place(anchored.value, event)

    def _take_value(self, event: Event) -> None:
        self.num_values += 1
        self._check_limits(event)
        if event.kind == "scalar":
            self._place(event.value, event)
            if event.anchor is not None:
                self.anchors[event.anchor] = _Anchored(event.value)
            return
        value: dict[str, object] | list[object] = {} if event.kind == "open_map" else []
        pointer = self._place(value, event)
        before = self.num_values - 1
        self.levels.append(_Level(value, pointer, event.anchor, before))

    def _place(self, value: object, event: Event) -> str:
        """Put a value where it belongs, and give its pointer."""
        if not self.levels:
            self.root = value
            pointer = ""
        else:
            level = self.levels[-1]
            if isinstance(level.value, list):
                pointer = f"{level.pointer}/{len(level.value)}"
                level.value.append(value)
            else:
                assert level.key is not None
                pointer = level.pointer + pointer_to(level.key)
                level.value[level.key] = value
                level.key = None
        self.marks[pointer] = (event.line, event.column)
        return pointer

    def _check_limits(self, event: Event, height: int = 0) -> None:
        if len(self.levels) + height >= self.limits.max_depth:
            message = f"Nested deeper than {self.limits.max_depth} levels."
        elif self.num_values > self.limits.max_values:
            message = f"More than {self.limits.max_values} values, aliases counted each time."
        else:
            return
        self._complain(message, event.line, event.column)
        raise _Stop

    def _complain(
        self,
        message: str,
        line: int | None = None,
        column: int | None = None,
        *,
        is_last: bool = False,
    ) -> None:
        self.faults.append(Fault(message=message, file=self.file, line=line, column=column))
        if len(self.faults) >= self.limits.max_faults and not is_last:
            raise _Stop


def _key_problem(level: _Level, event: Event) -> str | None:
    if event.kind != "scalar":
        return "A key must be a plain string, not a list, a mapping or an alias."
    if not isinstance(event.value, str):
        return f"A key must be a string: quote it as '{json.dumps(event.value)}'."
    if event.value == "<<":
        return "Merge keys ('<<') are not read. Write the keys out."
    if event.value in level.value:
        return f"The key {event.value!r} stands here twice. Remove one of them."
    return None
