"""CallReader: one call, a JSON object, read character by character. Knows no marks around it."""

from __future__ import annotations

import json
from typing import Final


#: What families call the arguments.
_ARGUMENTS: Final = ("arguments", "parameters")

#: What else a call may hold.
_OTHERS: Final = ("id", "name", "type")


class CallReader:
    """Gives the name as soon as it is there, and the text of the arguments as it comes.

    `is_broken`: it is no call, or none any more. A reader that is `is_done` takes nothing more.
    """

    def __init__(self) -> None:
        self.name: str | None = None
        self.is_done = False
        self.is_broken = False
        self._depth = 0
        self._in_string = False
        self._is_escaped = False
        self._key: str | None = None
        self._value = ""
        self._new = ""
        self._has_arguments = False

    def push(self, char: str) -> None:
        """Take the next character; the first is `{`."""
        if self._in_string:
            self._keep(char)
            self._read_string(char)
        elif char == '"':
            self._in_string = True
            self._keep(char)
        elif char in "{[":
            self._depth += 1
            if self._depth > 1:
                self._keep(char)
        elif char in "}]":
            self._close(char)
        elif self._depth == 1 and char == ":" and self._key is None:
            self._take_key()
        elif self._depth == 1 and char == ",":
            self._take_value()
        else:
            self._keep(char)

    def take(self) -> str:
        """Give the text of arguments that is new."""
        new, self._new = self._new, ""
        return new

    def _read_string(self, char: str) -> None:
        if self._is_escaped:
            self._is_escaped = False
        elif char == "\\":
            self._is_escaped = True
        elif char == '"':
            self._in_string = False

    def _close(self, char: str) -> None:
        self._depth -= 1
        if self._depth:
            self._keep(char)
            return
        if self._key is not None or self._value.strip():
            self._take_value()
        self.is_done = True
        if self.name is None:
            self.is_broken = True
        elif not self._has_arguments:
            self._new = "{}"

    def _keep(self, char: str) -> None:
        """Take a character of a key or a value."""
        if not self._value and char.isspace():
            return
        self._value += char
        # Arguments that are an object are passed on as they are written.
        if self._streams:
            self._new += char
            self._has_arguments = True

    @property
    def _streams(self) -> bool:
        is_whole = self._depth == 1 and self._value[-1:] != "}"
        return self._key in _ARGUMENTS and self._value.startswith("{") and not is_whole

    def _take_key(self) -> None:
        self._key = _read(self._value)
        self._value = ""
        if self._key not in (*_ARGUMENTS, *_OTHERS):
            self.is_broken = True

    def _take_value(self) -> None:
        key, value = self._key, self._value.strip()
        self._key, self._value = None, ""
        if key is None:
            self.is_broken = True
        elif key == "name":
            self.name = _read(value)
            self.is_broken = self.is_broken or self.name is None
        elif key in _ARGUMENTS and not value.startswith("{"):
            # Some models write the arguments as text that is JSON.
            text = _read(value)
            self.is_broken = self.is_broken or text is None
            self._new += text or ""
            self._has_arguments = True


def _read(text: str) -> str | None:
    """Read a JSON string; None where it is none."""
    try:
        value = json.loads(text)
    except ValueError:
        return None
    return value if isinstance(value, str) else None
