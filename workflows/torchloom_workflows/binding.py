"""Binding: works values out: look-ups, text, objects, lists and mappings. Knows no syntax."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final, Protocol, cast

from jinja2 import Template

from torchloom.errors import InvalidInput
from torchloom.graph import Binding, Constant, MissingValue
from torchloom_workflows.meter import Meter
from torchloom_workflows.method import FUNCTIONS
from torchloom_workflows.operation import look_up, refuse_tool
from torchloom_workflows.sandbox import SANDBOX, MeteredContext
from torchloom_workflows.undefined import AbsentName


#: What is data and nothing else, as nearly all values are.
_DATA: Final = frozenset({dict, list, str, bytes, int, float, bool, type(None)})


class Worker(Binding, Protocol):
    """A binding that works on a meter that others share."""

    def work(self, scope: Mapping[str, object], meter: Meter) -> object:
        """Work it out. Raises as `evaluate` does."""
        ...


@dataclass(frozen=True, slots=True)
class Use:
    """What an expression takes from its scope, and how it is named in messages."""

    label: str
    names: tuple[str, ...]
    reads: frozenset[str]


@dataclass(frozen=True, slots=True)
class PathExpression:
    """`{{ name.key[0] }}`: a look-up, done without a template. Means exactly what Jinja2 would."""

    used: Use
    name: str
    keys: tuple[str | int, ...]

    @property
    def reads(self) -> frozenset[str]:
        """Names of the nodes that it reads."""
        return self.used.reads

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Look it up. Raises MissingValue, or InvalidInput where a key is not there."""
        try:
            value = scope[self.name]
        except KeyError:
            raise _absent(self.used, self.name) from None
        for key in self.keys:
            try:
                value = value[key] if type(value) is dict else look_up(value, key)
            except KeyError:
                value = look_up(value, key)
        return value if type(value) in _DATA else _finish(self.used, value)

    def work(self, scope: Mapping[str, object], meter: Meter) -> object:
        """Look it up; that costs nothing."""
        del meter
        return self.evaluate(scope)


def _finish(used: Use, value: object) -> object:
    try:
        return refuse_tool(value)
    except Exception as bad:
        raise _failure(used, bad) from bad


@dataclass(frozen=True, slots=True)
class _Template:
    """What text and native expressions share: a compiled template."""

    used: Use
    template: Template
    makes_new: bool = False

    @property
    def reads(self) -> frozenset[str]:
        """Names of the nodes that it reads."""
        return self.used.reads

    def evaluate(self, scope: Mapping[str, object]) -> object:
        """Work it out. Raises MissingValue, or InvalidInput where it fails or takes too much."""
        return self.work(scope, Meter())

    def work(self, scope: Mapping[str, object], meter: Meter) -> object:
        """Work it out on a meter that is shared."""
        given = {name: scope[name] for name in self.used.names if name in scope}
        context = MeteredContext(SANDBOX, {**FUNCTIONS, **given}, None, {})
        context.meter = meter
        try:
            return self._run(context)
        except Exception as bad:
            raise _failure(self.used, bad) from bad

    def _run(self, context: MeteredContext) -> object:
        raise NotImplementedError


@dataclass(frozen=True, slots=True)
class TextExpression(_Template):
    """Text with expressions in it: gives a string."""

    def _run(self, context: MeteredContext) -> object:
        return "".join(self.template.root_render_func(context))


@dataclass(frozen=True, slots=True)
class NativeExpression(_Template):
    """Exactly one `{{ … }}`: gives the object itself."""

    def _run(self, context: MeteredContext) -> object:
        for _ in self.template.root_render_func(context):
            pass
        value = refuse_tool(context.vars["result"])
        if self.makes_new:
            context.meter.charge_whole(value)
        return value


@dataclass(frozen=True, slots=True)
class ListBinding:
    """A list with expressions in it, on one meter."""

    items: tuple[Binding, ...]
    reads: frozenset[str]

    def evaluate(self, scope: Mapping[str, object]) -> list[object]:
        """Work every item out."""
        return self.work(scope, Meter())

    def work(self, scope: Mapping[str, object], meter: Meter) -> list[object]:
        """Work every item out on a meter that is shared."""
        return [_work(item, scope, meter) for item in self.items]


@dataclass(frozen=True, slots=True)
class MappingBinding:
    """A mapping with expressions in its values, on one meter."""

    values: Mapping[str, Binding]
    reads: frozenset[str]

    def evaluate(self, scope: Mapping[str, object]) -> dict[str, object]:
        """Work every value out."""
        return self.work(scope, Meter())

    def work(self, scope: Mapping[str, object], meter: Meter) -> dict[str, object]:
        """Work every value out on a meter that is shared."""
        return {key: _work(value, scope, meter) for key, value in self.values.items()}


def _work(binding: Binding, scope: Mapping[str, object], meter: Meter) -> object:
    if isinstance(binding, Constant):
        return binding.value
    return cast("Worker", binding).work(scope, meter)


def _failure(used: Use, bad: Exception) -> Exception:
    if isinstance(bad, AbsentName):
        return _absent(used, bad.name)
    reason = str(bad).lstrip("_") or type(bad).__name__
    return InvalidInput(f"The expression {used.label} failed: {end_sentence(reason)}")


def _absent(used: Use, name: str) -> Exception:
    if name in used.reads:
        return MissingValue(name)
    return InvalidInput(f"The expression {used.label} failed: there is no {name!r} here.")


def end_sentence(message: str) -> str:
    """Give the message with a full stop, if it has no end yet."""
    return message if message.endswith((".", "?", "!")) else f"{message}."
