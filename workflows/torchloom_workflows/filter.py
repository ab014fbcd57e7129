"""Filter: the filters and tests of expressions: Jinja2's own where they are safe, metered.

Left out: those that make HTML, are random, or reach for attributes. Unlike in Jinja2, filters give
lists and never generators, and `tojson` writes plain JSON. Knows no template.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Literal, cast

from jinja2 import pass_context
from jinja2.filters import FILTERS as JINJA_FILTERS
from jinja2.runtime import Context, Undefined
from jinja2.tests import TESTS as JINJA_TESTS

from torchloom_workflows.meter import Meter, check_int
from torchloom_workflows.operation import (
    Refused,
    join_texts,
    look_up,
    replace_text,
    settle,
    to_text,
)


Run = Callable[..., object]

#: What a filter looks at: only how long its value is, each element, or all that is in it; `text`
#: filters take their value as text, and those that go through it letter by letter take longer.
_Reach = Literal["size", "each", "whole", "text", "letters"]

_MAX_PRECISION = 20
_MAX_INDENT = 100


def get_meter(context: Context) -> Meter:
    """Give the meter of the evaluation that this context belongs to."""
    meter: Meter = context.meter  # type: ignore[attr-defined]  # the sandbox's contexts have one
    return meter


def _metered(run: Run, reach: _Reach) -> Run:
    """Charge for the value before, and for the result after. Jinja2 passes what `run` asks for."""
    wanted = getattr(run, "jinja_pass_arg", None)

    @pass_context
    def filtered(context: Context, value: object, *args: object, **kwargs: object) -> object:
        meter = get_meter(context)
        if reach in ("text", "letters"):
            value = to_text(meter, value)
        _charge(meter, settle(value), reach)
        for argument in (*args, *kwargs.values()):
            meter.charge_size(settle(argument))
        given = {None: (), "context": (context,), "environment": (context.environment,)}
        found = run(*given[wanted and wanted.name], value, *args, **kwargs)
        if isinstance(found, Iterator):
            found = list(found)
        meter.charge_size(found)
        return check_int(found)

    return filtered


def _charge(meter: Meter, value: object, reach: _Reach) -> None:
    if reach == "whole":
        meter.charge_whole(value)
    elif reach in ("each", "letters") and hasattr(value, "__len__"):
        meter.charge(len(value))
    else:
        meter.charge_size(value)


def _own(run: Run) -> Run:
    """Wrap a filter that charges for itself: it takes the meter first."""

    @pass_context
    def filtered(context: Context, value: object, *args: object, **kwargs: object) -> object:
        for argument in (value, *args, *kwargs.values()):
            settle(argument)
        return run(get_meter(context), value, *args, **kwargs)

    return filtered


def _pick(values: object, attribute: object) -> list[object]:
    """Give the elements, or what is at a dotted path in each."""
    picked = list(_elements(values))
    if attribute is not None:
        for step in str(attribute).split("."):
            key = int(step) if step.isdigit() else step
            picked = [look_up(value, key) for value in picked]
    return picked


def _elements(values: object) -> list[object] | tuple[object, ...]:
    if isinstance(values, list | tuple):
        return values
    if isinstance(values, str | Mapping):
        return list(values)
    if isinstance(values, Iterator) or not hasattr(values, "__len__"):
        raise Refused(f"a {type(values).__name__} has no elements")
    return list(values)  # type: ignore[call-overload,no-any-return]  # arrays can be listed


def _list(meter: Meter, values: object) -> list[object]:
    found = list(_elements(values))
    meter.charge_size(found)
    return found


def _join(meter: Meter, values: object, d: object = "", attribute: object = None) -> str:
    meter.charge_size(values)
    return join_texts(meter, _pick(values, attribute), to_text(meter, d))


def _sum(meter: Meter, values: object, attribute: object = None, start: object = 0) -> object:
    picked = [start, *_pick(values, attribute)]
    meter.charge(len(picked))
    return check_int(sum(_number(value) for value in picked))


def _number(value: object) -> float:
    settle(value)
    if not isinstance(value, int | float):
        raise Refused(f"a {type(value).__name__} is no number")
    return value


def _replace(meter: Meter, text: object, old: object, new: object, count: int = -1) -> str:
    written, before, after = (to_text(meter, part) for part in (text, old, new))
    return replace_text(meter, written, before, after, count)


def _indent(
    meter: Meter, text: object, width: int | str = 4, first: object = None, blank: object = None
) -> str:
    written = to_text(meter, text)
    size = len(width) if isinstance(width, str) else width
    if size > _MAX_INDENT:
        raise Refused(f"indent({size}) is more than {_MAX_INDENT}")
    meter.charge_copy(len(written) + size * (written.count("\n") + 1))
    return str(JINJA_FILTERS["indent"](written, width, bool(first), bool(blank)))


def _round(meter: Meter, value: object, precision: int = 0, method: str = "common") -> object:
    meter.charge(1)
    if abs(_number(precision)) > _MAX_PRECISION:
        raise Refused(f"round({precision}) is more than {_MAX_PRECISION} digits")
    return JINJA_FILTERS["round"](_number(value), precision, method)


def _batch(meter: Meter, values: object, linecount: int) -> list[object]:
    if not isinstance(linecount, int) or linecount < 1:
        raise Refused("batch() needs a whole number from 1 up")
    rows = _list(meter, values)
    return [rows[start : start + linecount] for start in range(0, len(rows), linecount)]


def _tojson(meter: Meter, value: object, indent: int | None = None) -> str:
    if indent is not None and _number(indent) > _MAX_INDENT:
        raise Refused(f"tojson(indent={indent}) is more than {_MAX_INDENT}")
    meter.charge_whole(value)
    return json.dumps(value, ensure_ascii=False, indent=indent, default=_refuse_json)


def _refuse_json(value: object) -> object:
    settle(value)
    raise Refused(f"a {type(value).__name__} cannot be written as JSON")


def _items(meter: Meter, value: object) -> list[object]:
    if not isinstance(value, Mapping):
        raise Refused(f"a {type(value).__name__} has no items")
    meter.charge(len(value))
    return list(value.items())


@pass_context
def _default(
    context: Context, value: object, default_value: object = "", boolean: object = None
) -> object:
    get_meter(context).charge(1)
    if isinstance(value, Undefined) or (boolean and not value):
        return default_value
    return value


_JINJA_REACH: Mapping[_Reach, str] = {
    "size": "count first last length reverse",
    "each": "map reject rejectattr select selectattr",
    "whole": "abs dictsort float groupby int max min sort unique urlencode",
    "text": "capitalize lower trim truncate upper wordcount",
    "letters": "title",
}

#: Every filter, by name.
FILTERS: Mapping[str, Run] = {
    **{
        name: _metered(JINJA_FILTERS[name], reach)
        for reach, names in _JINJA_REACH.items()
        for name in names.split()
    },
    "batch": _own(_batch),
    "d": _default,
    "default": _default,
    "indent": _own(_indent),
    "items": _own(_items),
    "join": _own(_join),
    "list": _own(_list),
    "replace": _own(_replace),
    "round": _own(_round),
    "string": _own(to_text),
    "sum": _own(_sum),
    "tojson": _own(_tojson),
}


def _test(run: Run, *, takes_missing: bool = False) -> Run:
    @pass_context
    def tested(context: Context, value: object, *args: object) -> bool:
        meter = get_meter(context)
        meter.charge(1)
        if not takes_missing:
            for part in (value, *args):
                meter.charge_whole(settle(part))
        return bool(run(value, *args))

    return tested


def _is_divisible(value: object, number: object) -> bool:
    return _number(value) % _number(number) == 0


_JINJA_TESTS = [
    "!=",
    "<",
    "<=",
    "==",
    ">",
    ">=",
    "boolean",
    "eq",
    "equalto",
    "even",
    "false",
    "float",
    "ge",
    "greaterthan",
    "gt",
    "in",
    "integer",
    "iterable",
    "le",
    "lessthan",
    "lower",
    "lt",
    "mapping",
    "ne",
    "none",
    "number",
    "odd",
    "sequence",
    "string",
    "true",
    "upper",
]

#: Every test, by name.
TESTS: Mapping[str, Run] = {
    **{name: _test(cast("Run", JINJA_TESTS[name])) for name in _JINJA_TESTS},
    "defined": _test(lambda value: not isinstance(value, Undefined), takes_missing=True),
    "divisibleby": _test(_is_divisible),
    "even": _test(lambda value: _is_divisible(value, 2)),
    "odd": _test(lambda value: not _is_divisible(value, 2)),
    "undefined": _test(lambda value: isinstance(value, Undefined), takes_missing=True),
}
