"""Operation: what expressions may do with values: look up, compute, compare, call methods.

A closed set: JSON values can be worked with; anything else (bytes, arrays) only passed on, counted
and indexed. Knows no template.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Namespace

from torchloom_workflows.meter import MAX_BITS, Meter, TooMuch, check_int
from torchloom_workflows.undefined import Missing


#: What `loop.…` offers inside a `for`.
LOOP_FACTS = frozenset(
    [
        "index",
        "index0",
        "first",
        "last",
        "length",
        "revindex",
        "revindex0",
        "previtem",
        "nextitem",
        "depth",
        "depth0",
    ]
)

_ARITHMETIC: Mapping[str, Callable[[object, object], object]] = {
    "+": operator.add,
    "-": operator.sub,
    "*": operator.mul,
    "/": operator.truediv,
    "//": operator.floordiv,
    "%": operator.mod,
    "**": operator.pow,
}


class Refused(Exception):
    """Something that expressions cannot do; the message says what."""


@dataclass(frozen=True, slots=True)
class Function:
    """Something that an expression may call. `run` takes the meter, then the arguments."""

    name: str
    run: Callable[..., object]


def look_up(value: object, key: object) -> object:
    """Give `value.key` or `value[key]`: data, never an attribute. Missing where there is none."""
    if isinstance(value, Undefined):
        return value
    if isinstance(value, LoopContext):
        is_fact = isinstance(key, str) and key in LOOP_FACTS
        return getattr(value, str(key)) if is_fact else Missing(obj=value, name=str(key))
    if isinstance(value, Namespace):
        names = _namespace_names(value)
        return names[key] if key in names else Missing(obj=names, name=str(key))
    if isinstance(value, tuple) and key in getattr(value, "_fields", ()):
        return getattr(value, str(key))
    is_position = isinstance(key, int)
    if isinstance(value, Mapping) or is_position:
        try:
            return value[key]  # type: ignore[index]  # tried, to see whether it can be
        except (LookupError, TypeError):
            pass
    return Missing(obj=value, name=key)  # type: ignore[arg-type]  # a name or a position


def _namespace_names(value: Namespace) -> Mapping[object, object]:
    # A Namespace hides its own attributes from `getattr`.
    names: Mapping[object, object] = object.__getattribute__(value, "_Namespace__attrs")
    return names


def take_slice(meter: Meter, value: object, *bounds: object) -> object:
    """Give `value[start:stop:step]` of a text or a list."""
    settle(value)
    if not isinstance(value, str | list | tuple):
        raise Refused(f"a {type(value).__name__} cannot be sliced")
    meter.charge_size(value)
    return value[slice(*bounds)]  # type: ignore[arg-type]  # bad bounds fail by themselves


def compute(meter: Meter, sign: str, left: object, right: object) -> object:
    """Work out `left sign right` of numbers; texts and lists can be added, and repeated."""
    settle(left)
    settle(right)
    if isinstance(left, int | float) and isinstance(right, int | float):
        return _compute_number(sign, left, right)
    if sign == "+":
        for kinds in (str, list, tuple):
            if isinstance(left, kinds) and isinstance(right, kinds):
                meter.charge_size(left)
                meter.charge_size(right)
                return operator.add(left, right)
    if sign == "*":
        for many, count in ((left, right), (right, left)):
            if isinstance(many, str | list) and isinstance(count, int):
                meter.charge_items(many, max(count, 0))
                return operator.mul(many, count)
    hint = " Join texts with `~`." if sign in "%+" else ""
    names = f"{type(left).__name__} {sign} {type(right).__name__}"
    raise Refused(f"there is no {names}.{hint}")


def _compute_number(sign: str, left: float, right: float) -> object:
    if sign == "**" and isinstance(left, int) and left.bit_length() * abs(right) > MAX_BITS:
        raise TooMuch(f"a whole number has more than {MAX_BITS} bits")
    value = check_int(_ARITHMETIC[sign](left, right))
    if isinstance(value, complex):
        raise Refused("the result is not a real number")
    return value


def negate(sign: str, value: object) -> object:
    """Work out `-value` or `+value` of a number."""
    settle(value)
    if not isinstance(value, int | float):
        raise Refused(f"there is no {sign}{type(value).__name__}")
    return -value if sign == "-" else value


def to_text(meter: Meter, value: object) -> str:
    """Write a value as text, as Jinja2 does: `str()` of it."""
    if isinstance(value, str):
        return value
    settle(value)
    if isinstance(value, list | tuple | dict):
        meter.charge_whole(value)
    elif value is not None and not isinstance(value, bool | int | float):
        raise Refused(f"a {type(value).__name__} cannot be written as text")
    return str(value)


def settle(value: object) -> object:
    """Give the value, or fail if it is missing."""
    if isinstance(value, Undefined):
        str(value)
    return value


def build(meter: Meter, value: object) -> object:
    """Let a list or mapping that was written out in an expression pass, if all of it is data."""
    assert isinstance(value, list | tuple | dict)
    for part in value.values() if isinstance(value, dict) else value:
        refuse_tool(part)
    meter.charge_size(value)
    return value


#: What a template works with, and no value.
_TOOLS: Final = (Function, LoopContext, Namespace)


def refuse_tool(value: object) -> object:
    """Give the value, unless it is missing, or a tool of the template such as `loop`."""
    settle(value)
    if isinstance(value, _TOOLS):
        name = value.name if isinstance(value, Function) else type(value).__name__
        raise Refused(f"{name!r} is no value. Was a call meant: `{name}()`?")
    return value


def join_texts(meter: Meter, parts: list[object] | tuple[object, ...], between: str = "") -> str:
    """Write the parts as text, one after the other."""
    texts = [to_text(meter, part) for part in parts]
    num_chars = sum(map(len, texts)) + len(between) * max(len(texts) - 1, 0)
    meter.charge_copy(num_chars)
    return between.join(texts)


def replace_text(meter: Meter, text: str, old: str, new: str, count: int = -1) -> str:
    """Replace, having worked out beforehand how long the text becomes."""
    num_found = text.count(old) if count < 0 else min(count, text.count(old))
    meter.charge_copy(len(text) + num_found * len(new))
    return text.replace(old, new, count)
