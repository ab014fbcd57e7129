"""Rewrite: refuses what expressions may not say, and puts a meter on the rest, in the syntax tree.

Knows no value and evaluates nothing.
"""

from __future__ import annotations

from collections.abc import Iterator

from jinja2 import nodes
from jinja2.visitor import NodeTransformer

from torchloom.errors import nearest
from torchloom_workflows.filter import FILTERS, TESTS


#: The most parts of one expression, and how deep they may lie in each other.
MAX_NODES = 5_000
MAX_TREE_DEPTH = 60
MAX_LOOP_DEPTH = 8

_ALLOWED: tuple[type[nodes.Node], ...] = (
    nodes.And,
    nodes.Assign,
    nodes.AssignBlock,
    nodes.BinExpr,
    nodes.Call,
    nodes.Compare,
    nodes.Concat,
    nodes.CondExpr,
    nodes.Const,
    nodes.Dict,
    nodes.Filter,
    nodes.FilterBlock,
    nodes.For,
    nodes.Getattr,
    nodes.Getitem,
    nodes.If,
    nodes.Keyword,
    nodes.List,
    nodes.NSRef,
    nodes.Name,
    nodes.Not,
    nodes.Operand,
    nodes.Or,
    nodes.Output,
    nodes.Pair,
    nodes.Slice,
    nodes.Template,
    nodes.TemplateData,
    nodes.Test,
    nodes.Tuple,
    nodes.UnaryExpr,
    nodes.With,
)


#: Tags that Jinja2's tree calls otherwise.
_TAGS = {"callblock": "call", "fromimport": "from"}


class BadExpression(ValueError):
    """The expression cannot be used. `line` counts from 1 within it."""

    def __init__(self, message: str, line: int = 1) -> None:
        super().__init__(message)
        self.line = line


def check_tree(tree: nodes.Node) -> None:
    """Refuse what may not be said, and what is too large. Raises BadExpression."""
    num_nodes = 0
    level: list[tuple[nodes.Node, int]] = [(tree, 0)]
    for _ in range(MAX_TREE_DEPTH):
        below: list[tuple[nodes.Node, int]] = []
        for node, loop_depth in level:
            num_nodes += 1
            inner = loop_depth + isinstance(node, nodes.For)
            _check_node(node, inner)
            below.extend((child, inner) for child in node.iter_child_nodes())
        if num_nodes > MAX_NODES:
            raise BadExpression(f"It has more than {MAX_NODES} parts.")
        if not below:
            return
        level = below
    raise BadExpression(f"Its parts lie in each other more than {MAX_TREE_DEPTH} deep.")


def _check_node(node: nodes.Node, loop_depth: int) -> None:
    if not isinstance(node, _ALLOWED):
        raise BadExpression(f"{_word(node)} cannot be used here.", node.lineno)
    if isinstance(node, nodes.Filter) and node.name not in FILTERS:
        hint = nearest(node.name, FILTERS)
        raise BadExpression(f"There is no filter {node.name!r}.{hint}", node.lineno)
    if isinstance(node, nodes.Test) and node.name not in TESTS:
        hint = nearest(node.name, TESTS)
        raise BadExpression(f"There is no test {node.name!r}.{hint}", node.lineno)
    if isinstance(node, nodes.For) and node.recursive:
        raise BadExpression("A recursive `for` cannot be used here.", node.lineno)
    if loop_depth > MAX_LOOP_DEPTH:
        raise BadExpression(f"More than {MAX_LOOP_DEPTH} loops in each other.", node.lineno)
    if isinstance(node, nodes.Getattr) and node.attr.startswith("__"):
        raise BadExpression(f"{node.attr!r} cannot be looked up: it is no data.", node.lineno)
    if isinstance(node, nodes.Call | nodes.Filter | nodes.Test):
        _check_arguments(node)


def _check_arguments(node: nodes.Call | nodes.Filter | nodes.Test) -> None:
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        raise BadExpression("`*` and `**` arguments cannot be used here.", node.lineno)


def _word(node: nodes.Node) -> str:
    name = type(node).__name__.lower()
    return f"`{{% {_TAGS.get(name, name)} %}}`"


def has_builders(tree: nodes.Node) -> bool:
    """Tell whether the expression may make a new list or mapping, not only pass one on."""
    literals = (n for n in tree.find_all((nodes.List, nodes.Tuple, nodes.Dict)) if n.items)  # type: ignore[attr-defined]  # each of them has items
    return (
        any(True for _ in literals)
        or any(True for _ in tree.find_all((nodes.Call, nodes.Add, nodes.Mul)))
        or any(node.name in ("batch", "groupby", "map") for node in tree.find_all(nodes.Filter))
    )


def put_on_meter(tree: nodes.Template) -> nodes.Template:
    """Lead loops, comparisons, slices, literals, `~` and methods through the sandbox's hooks."""
    return _Metering().visit(tree)  # type: ignore[no-any-return]  # a Template stays one


class _Metering(NodeTransformer):
    """Changes a tree that `check_tree` has passed."""

    def visit_For(self, node: nodes.For) -> nodes.Node:  # noqa: N802 - named by Jinja2
        assert isinstance(node.iter, nodes.Expr)
        parts = [part for part in (*node.body, node.test) if part is not None]
        cost = nodes.Const(1 + sum(_count_nodes(part) for part in parts))
        size = nodes.Const(sum(_count_chars(part) for part in parts))
        self.generic_visit(node)
        node.iter = _hook("_each", node.iter, cost, size)
        return node

    def visit_Compare(self, node: nodes.Compare) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        operands = [node.expr, *(operand.expr for operand in node.ops)]
        is_short = len(node.ops) == 1 and any(isinstance(o, nodes.Const) for o in operands)
        if is_short and not any(operand.op in ("in", "notin") for operand in node.ops):
            return node
        node.expr = _hook("_weigh", node.expr)
        for operand in node.ops:
            operand.expr = _hook("_weigh", operand.expr)
        return node

    def visit_CondExpr(self, node: nodes.CondExpr) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        # Jinja2 gives a lenient undefined here, which renders to nothing.
        node.expr2 = node.expr2 or nodes.Const("")
        return node

    def visit_Concat(self, node: nodes.Concat) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        return _hook("_concat", nodes.List(node.nodes, lineno=node.lineno))

    def visit_Getitem(self, node: nodes.Getitem) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        if not isinstance(node.arg, nodes.Slice):
            return node
        bounds = (node.arg.start, node.arg.stop, node.arg.step)
        ends = (bound if isinstance(bound, nodes.Expr) else nodes.Const(None) for bound in bounds)
        return _hook("_slice", node.node, *ends)

    def visit_Call(self, node: nodes.Call) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        if isinstance(node.node, nodes.Getattr):
            node.node = _hook("_method", node.node.node, nodes.Const(node.node.attr))
        return node

    def visit_List(self, node: nodes.List) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        return _hook("_build", node)

    def visit_Dict(self, node: nodes.Dict) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        return _hook("_build", node)

    def visit_Tuple(self, node: nodes.Tuple) -> nodes.Node:  # noqa: N802 - named by Jinja2
        self.generic_visit(node)
        return _hook("_build", node) if node.ctx == "load" else node


def _hook(name: str, value: nodes.Expr, *arguments: nodes.Expr) -> nodes.Expr:
    return nodes.Filter(value, name, list(arguments), [], None, None, lineno=value.lineno)


def _count_nodes(node: nodes.Node) -> int:
    return 1 + sum(_count_nodes(child) for child in node.iter_child_nodes())


def _count_chars(node: nodes.Node) -> int:
    return sum(len(data.data) for data in _find_data(node))


def _find_data(node: nodes.Node) -> Iterator[nodes.TemplateData]:
    if isinstance(node, nodes.TemplateData):
        yield node
    yield from node.find_all(nodes.TemplateData)
