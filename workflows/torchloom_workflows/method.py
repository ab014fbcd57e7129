"""Method: what may be called in an expression: methods of texts, lists and mappings, and functions.

Knows no template. Nothing here changes a value, reads a clock, or makes more than it charges for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from jinja2.runtime import LoopContext
from jinja2.utils import Namespace

from torchloom.errors import nearest
from torchloom_workflows.meter import Meter
from torchloom_workflows.operation import (
    Function,
    Refused,
    join_texts,
    refuse_tool,
    replace_text,
    settle,
)


_Run = Callable[..., object]


def _of_text(name: str) -> _Run:
    """Wrap a method of `str` whose result is no longer than a few times its text."""
    method: _Run = getattr(str, name)

    def run(meter: Meter, text: str, *args: object, **kwargs: object) -> object:
        for value in (text, *args, *kwargs.values()):
            meter.charge_size(settle(value))
        found = method(text, *args, **kwargs)
        meter.charge_size(found)
        return list(found) if isinstance(found, tuple) else found

    return run


def _join(meter: Meter, text: str, parts: object) -> str:
    if not isinstance(parts, list | tuple):
        raise Refused(f"join() needs a list, not a {type(parts).__name__}")
    return join_texts(meter, parts, text)


def _of_list(name: str) -> _Run:
    method: _Run = getattr(list, name)

    def run(meter: Meter, values: list[object] | tuple[object, ...], value: object) -> object:
        meter.charge_whole(values)
        return method(list(values), settle(value))

    return run


def _listed(name: str) -> _Run:
    def run(meter: Meter, mapping: Mapping[str, object]) -> object:
        meter.charge(len(mapping))
        return list(getattr(mapping, name)())

    return run


def _get(
    meter: Meter, mapping: Mapping[str, object], key: object, default: object = None
) -> object:
    meter.charge(1)
    return mapping.get(settle(key), default)  # type: ignore[call-overload]  # any key may be tried


_TEXT_NAMES = [
    "capitalize",
    "casefold",
    "count",
    "endswith",
    "find",
    "index",
    "isalnum",
    "isalpha",
    "isdecimal",
    "isdigit",
    "islower",
    "isnumeric",
    "isspace",
    "istitle",
    "isupper",
    "lower",
    "lstrip",
    "partition",
    "removeprefix",
    "removesuffix",
    "rfind",
    "rindex",
    "rpartition",
    "rsplit",
    "rstrip",
    "split",
    "splitlines",
    "startswith",
    "strip",
    "swapcase",
    "title",
    "upper",
]

#: The methods of each kind of value.
METHODS: Mapping[type, Mapping[str, _Run]] = {
    str: {**{name: _of_text(name) for name in _TEXT_NAMES}, "join": _join, "replace": replace_text},
    list: {name: _of_list(name) for name in ("count", "index")},
    tuple: {name: _of_list(name) for name in ("count", "index")},
    Mapping: {**{name: _listed(name) for name in ("items", "keys", "values")}, "get": _get},
    LoopContext: {"cycle": lambda _meter, loop, *values: loop.cycle(*values)},
}


def _bind(name: str, run: _Run, value: object) -> Function:
    return Function(name, lambda meter, *args, **kwargs: run(meter, value, *args, **kwargs))


def find_method(value: object, name: str) -> object:
    """Give what `value.name(…)` calls. Missing values give themselves, and fail when called."""
    for kind, methods in METHODS.items():
        if isinstance(value, kind):
            if name not in methods:
                break
            return _bind(name, methods[name], value)
    settle(value)
    known = next((m for kind, m in METHODS.items() if isinstance(value, kind)), {})
    raise Refused(f"a {type(value).__name__} has no method {name!r}.{nearest(name, known)}")


def _range(meter: Meter, *bounds: int) -> list[int]:
    numbers = range(*bounds)
    # Its length may not fit in what len() gives.
    span = abs(numbers.stop - numbers.start) // abs(numbers.step)
    meter.charge(span)
    return list(numbers)


def _dict(meter: Meter, *pairs: object, **values: object) -> dict[object, object]:
    made: dict[object, object] = dict(*pairs, **values)  # type: ignore[assignment]  # tried, whatever is given
    for value in made.values():
        refuse_tool(value)
    meter.charge_size(made)
    return made


def _namespace(meter: Meter, **values: object) -> Namespace:
    meter.charge(len(values))
    return Namespace(**values)


#: Functions that every expression may call.
FUNCTIONS: Mapping[str, Function] = {
    "dict": Function("dict", _dict),
    "namespace": Function("namespace", _namespace),
    "range": Function("range", _range),
}
