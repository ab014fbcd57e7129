"""Reading: which names an expression reads from outside, found in its syntax tree.

Follows the scoping of `for`, `set`, `with` and blocks. Knows no node of any workflow.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

from jinja2 import nodes


@dataclass(frozen=True, slots=True)
class Read:
    """A name that is read, and the constant keys that are looked up in it: `answer`, ("text",).

    `is_maybe`: the name may also have been set by the expression itself, on one of its branches.
    `line` counts from 1 within the expression.
    """

    name: str
    keys: tuple[str | int, ...] = ()
    line: int = 1
    is_maybe: bool = False


def find_reads(tree: nodes.Node) -> list[Read]:
    """Find every read of a name that the expression has not set itself, in order."""
    return list(_Finder().visit(tree))


@dataclass(slots=True)
class _Finder:
    """Walks one scope. `own`: names that are surely set; `maybe`: those that may be."""

    own: set[str] = field(default_factory=set)
    maybe: set[str] = field(default_factory=set)

    def visit(self, node: nodes.Node) -> Iterator[Read]:
        match node:
            case nodes.For():
                yield from self._visit_for(node)
            case nodes.If():
                yield from self._visit_if(node)
            case nodes.With():
                yield from self._visit_with(node)
            case nodes.Assign():
                yield from self.visit(node.node)
                yield from self._store(node.target)
            case nodes.AssignBlock():
                yield from self._inner().visit_all(node.body)
                if node.filter is not None:
                    yield from self.visit(node.filter)
                yield from self._store(node.target)
            case nodes.FilterBlock():
                yield from self._inner().visit_all(node.body)
                yield from self.visit(node.filter)
            case nodes.Name() | nodes.Getattr() | nodes.Getitem():
                yield from self._visit_path(node)
            case nodes.Call(node=nodes.Getattr() as method):
                # `a.b.items()`: the last step is a method, no key.
                yield from self.visit(method.node)
                yield from self.visit_all(node.iter_child_nodes(exclude=("node",)))
            case _:
                yield from self.visit_all(node.iter_child_nodes())

    def visit_all(self, inner: Iterable[nodes.Node]) -> Iterator[Read]:
        for node in inner:
            yield from self.visit(node)

    def _inner(self, *names: str) -> _Finder:
        return _Finder({*self.own, *names}, set(self.maybe))

    def _store(self, target: nodes.Node) -> Iterator[Read]:
        for name in target.find_all(nodes.NSRef):
            yield from self._read(name.name, (), name.lineno)
        if isinstance(target, nodes.NSRef):
            yield from self._read(target.name, (), target.lineno)
        self.own.update(_stored(target))

    def _visit_for(self, node: nodes.For) -> Iterator[Read]:
        yield from self.visit(node.iter)
        names = _stored(node.target)
        if node.test is not None:
            yield from self._inner(*names).visit(node.test)
        yield from self._inner(*names, "loop").visit_all(node.body)
        yield from self._inner().visit_all(node.else_)

    def _visit_if(self, node: nodes.If) -> Iterator[Read]:
        yield from self.visit(node.test)
        branches = [self._inner() for _ in range(len(node.elif_) + 2)]
        yield from branches[0].visit_all(node.body)
        for branch, other in zip(branches[1:], node.elif_, strict=False):
            yield from branch.visit(other.test)
            yield from branch.visit_all(other.body)
        yield from branches[-1].visit_all(node.else_)
        self.maybe.update(*(branch.own | branch.maybe for branch in branches))
        self.own.update(set.intersection(*(branch.own for branch in branches)))

    def _visit_with(self, node: nodes.With) -> Iterator[Read]:
        yield from self.visit_all(node.values)
        names = [name for target in node.targets for name in _stored(target)]
        yield from self._inner(*names).visit_all(node.body)

    def _visit_path(self, node: nodes.Node) -> Iterator[Read]:
        keys: list[str | int] = []
        step = node
        while isinstance(step, nodes.Getattr | nodes.Getitem):
            key = constant_key(step)
            if key is not None:
                keys.append(key)
            elif isinstance(step, nodes.Getitem):
                # The key is worked out: what lies beyond it is not known here.
                yield from self.visit(step.arg)
                keys.clear()
            step = step.node
        if isinstance(step, nodes.Name):
            yield from self._read(step.name, tuple(reversed(keys)), step.lineno)
        else:
            yield from self.visit(step)

    def _read(self, name: str, keys: tuple[str | int, ...], line: int) -> Iterator[Read]:
        if name not in self.own:
            yield Read(name, keys, line, is_maybe=name in self.maybe)


def constant_key(node: nodes.Getattr | nodes.Getitem) -> str | int | None:
    """Give the key that is looked up, or None where it is worked out."""
    if isinstance(node, nodes.Getattr):
        return node.attr
    key, sign = node.arg, 1
    if isinstance(key, nodes.Neg):
        key, sign = key.node, -1
    value = key.value if isinstance(key, nodes.Const) else None
    if isinstance(value, int) and not isinstance(value, bool):
        return sign * value
    return value if isinstance(value, str) and sign == 1 else None


def _stored(target: nodes.Node) -> set[str]:
    if isinstance(target, nodes.Name):
        return {target.name}
    return {name.name for name in target.find_all(nodes.Name)}
