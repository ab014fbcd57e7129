"""Sandbox: the Jinja2 environment of expressions: no attributes, no imports, everything metered.

`rewrite.py` leads what Jinja2 would do by itself (loops, comparisons, slices, literals, `~`) to the
filters here whose names start with an underscore; templates cannot call those.
"""

from __future__ import annotations

from collections.abc import Mapping

from jinja2 import pass_context
from jinja2.runtime import Context
from jinja2.sandbox import SandboxedEnvironment

from torchloom_workflows.filter import FILTERS, TESTS, Run, get_meter
from torchloom_workflows.meter import CHARS_PER_UNIT, Meter
from torchloom_workflows.method import FUNCTIONS, find_method
from torchloom_workflows.operation import (
    Function,
    Refused,
    build,
    compute,
    join_texts,
    look_up,
    negate,
    settle,
    take_slice,
    to_text,
)
from torchloom_workflows.undefined import Missing


class MeteredContext(Context):
    """The variables of one evaluation, and its meter."""

    meter: Meter


@pass_context
def _finalize(context: Context, value: object) -> str:
    """Write what stands between `{{` and `}}`."""
    meter = get_meter(context)
    text = to_text(meter, value)
    meter.charge_text(len(text))
    return text


@pass_context
def _each(context: Context, values: object, num_nodes: int, num_chars: int) -> object:
    """Charge for a loop before it begins: for each item, the nodes and the text of its body."""
    settle(values)
    if not hasattr(values, "__len__"):
        raise Refused(f"a {type(values).__name__} cannot be looped over")
    meter = get_meter(context)
    meter.charge(len(values) * (num_nodes + num_chars // CHARS_PER_UNIT))
    meter.charge_text(len(values) * num_chars)
    return values


@pass_context
def _weigh(context: Context, value: object) -> object:
    """Charge for a value that is to be compared."""
    get_meter(context).charge_whole(settle(value))
    return value


@pass_context
def _concat(context: Context, parts: list[object]) -> str:
    return join_texts(get_meter(context), parts)


@pass_context
def _slice(context: Context, value: object, *bounds: object) -> object:
    return take_slice(get_meter(context), value, *bounds)


@pass_context
def _build(context: Context, value: object) -> object:
    return build(get_meter(context), value)


def _method(value: object, name: str) -> object:
    return find_method(value, name)


_HOOKS: Mapping[str, Run] = {
    "_build": _build,
    "_concat": _concat,
    "_each": _each,
    "_method": _method,
    "_slice": _slice,
    "_weigh": _weigh,
}


class Sandbox(SandboxedEnvironment):
    """Compiles expressions that can do only what `operation`, `method` and `filter` offer."""

    context_class = MeteredContext
    intercepted_binops = frozenset({"+", "-", "*", "/", "//", "%", "**"})
    intercepted_unops = frozenset({"+", "-"})

    def __init__(self) -> None:
        # Not optimized: folding constants would work them out unmetered, at check time.
        super().__init__(undefined=Missing, finalize=_finalize, optimized=False, cache_size=0)
        self.filters = {**FILTERS, **_HOOKS}
        self.tests = dict(TESTS)
        self.globals = dict(FUNCTIONS)

    def getattr(self, obj: object, attribute: str) -> object:
        """Give `obj.attribute`: a key, never an attribute."""
        return look_up(obj, attribute)

    def getitem(self, obj: object, argument: object) -> object:
        """Give `obj[argument]`."""
        return look_up(obj, argument)

    def call(self, context: Context, target: object, /, *args: object, **kwargs: object) -> object:
        """Call a function or a method of ours; nothing else can be called."""
        settle(target)
        if not isinstance(target, Function):
            raise Refused(f"a {type(target).__name__} cannot be called")
        meter = get_meter(context)
        meter.charge(1)
        # Jinja2 adds these to every call inside a loop or a block.
        kwargs.pop("_loop_vars", None)
        kwargs.pop("_block_vars", None)
        return target.run(
            meter,
            *(settle(arg) for arg in args),
            **{name: settle(arg) for name, arg in kwargs.items()},
        )

    def call_binop(self, context: Context, operator: str, left: object, right: object) -> object:
        """Work out `left operator right`."""
        return compute(get_meter(context), operator, left, right)

    def call_unop(self, context: Context, operator: str, arg: object) -> object:
        """Work out `operator arg`."""
        del context
        return negate(operator, arg)

    def call_filter(self, name: str, *args: object, **kwargs: object) -> object:
        """Call a filter that is named at run time, as `map` does. Ours are out of reach."""
        if name not in FILTERS:
            raise Refused(f"there is no filter {name!r}")
        return super().call_filter(name, *args, **kwargs)  # type: ignore[arg-type]  # passed on as given


SANDBOX = Sandbox()
