"""Scalar: what a plain word in YAML means, by the core schema of YAML 1.2. Knows no document.

`on`, `yes`, `no`, dates and `1_000` are strings here; PyYAML's own rules are those of YAML 1.1.
"""

from __future__ import annotations

import math
import re


_NULL = frozenset({"", "~", "null", "Null", "NULL"})
_TRUE = frozenset({"true", "True", "TRUE"})
_FALSE = frozenset({"false", "False", "FALSE"})
_INT = re.compile(r"[-+]?[0-9]+|0o[0-7]+|0x[0-9a-fA-F]+", re.ASCII)
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?", re.ASCII)
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")

#: Digits of the longest number that is read. Python itself refuses more than 4300.
MAX_DIGITS = 400


class BadScalar(ValueError):
    """A number that JSON cannot carry; the message says why."""


def read_plain(text: str) -> bool | int | float | str | None:
    """Give the value of an unquoted word. Raises BadScalar for numbers that are not finite."""
    if text in _NULL:
        return None
    if text in _TRUE or text in _FALSE:
        return text in _TRUE
    if not (text[0].isdigit() or text[0] in "+-."):
        return text
    return read_number(text)


def read_number(text: str) -> int | float | str:
    """Give the number, or the text where it is none. Raises BadScalar as `read_plain` does."""
    if _NOT_FINITE.fullmatch(text):
        raise BadScalar(f"{text} is not a finite number. Quote it if it is meant as text.")
    is_int = _INT.fullmatch(text) is not None
    if not is_int and not _FLOAT.fullmatch(text):
        return text
    if len(text) > MAX_DIGITS:
        raise BadScalar(f"A number of {len(text)} digits is too long. Quote it if it is text.")
    if is_int:
        return int(text, 0) if text[:2] in ("0o", "0x") else int(text)
    number = float(text)
    if not math.isfinite(number):
        raise BadScalar(f"{text} is too large for a number. Quote it if it is meant as text.")
    return number
