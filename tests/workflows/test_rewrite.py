"""Rewrite: what expressions may not say, and where the meter goes."""

from __future__ import annotations

import pytest
from jinja2 import nodes

from torchloom_workflows.rewrite import (
    MAX_NODES,
    BadExpression,
    check_tree,
    has_builders,
    put_on_meter,
)
from torchloom_workflows.sandbox import SANDBOX


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("{% include 'a' %}", "`{% include %}` cannot be used"),
        ("{% import 'a' as b %}", "`{% import %}`"),
        ("{% from 'a' import b %}", "`{% from %}`"),
        ("{% extends 'a' %}", "`{% extends %}`"),
        ("{% block a %}{% endblock %}", "`{% block %}`"),
        ("{% macro a() %}{{ a() }}{% endmacro %}", "`{% macro %}`"),
        ("{% call a() %}{% endcall %}", "`{% call %}`"),
        ("{% for a in b recursive %}{% endfor %}", "recursive"),
        ("{{ a | uper }}", "There is no filter 'uper'. Did you mean 'upper'?"),
        ("{{ a | attr('x') }}", "There is no filter 'attr'"),
        ("{{ a | format }}", "There is no filter 'format'"),
        ("{{ a | _each(1, 1) }}", "There is no filter '_each'"),
        ("{{ a is defind }}", "There is no test 'defind'. Did you mean 'defined'?"),
        ("{{ a is callable }}", "There is no test 'callable'"),
        ("{{ a.__class__ }}", "'__class__' cannot be looked up"),
        ("{{ range(*a) }}", "arguments cannot be used"),
        ("{{ dict(**a) }}", "arguments cannot be used"),
        ("{{ a | map(*b) }}", "arguments cannot be used"),
        ("{% for a in b %}" * 9 + "{% endfor %}" * 9, "More than 8 loops"),
        ("{{ a }}" * (MAX_NODES + 1), "more than 5000 parts"),
        ("{{ " + "+".join("a" * 100) + " }}", "more than 60 deep"),
        ("{{ a" + ".b" * 30_000 + " }}", "more than 60 deep"),
    ],
)
def test_refuses(source: str, words: str) -> None:
    """Only what has a bound, and leads nowhere, may be said."""
    with pytest.raises(BadExpression) as caught:
        check_tree(SANDBOX.parse(source))
    assert words in str(caught.value)


def test_tells_the_line_of_what_it_refuses() -> None:
    """Lines count within the expression."""
    with pytest.raises(BadExpression) as caught:
        check_tree(SANDBOX.parse("a\nb\n{% include 'c' %}"))
    assert caught.value.line == 3


@pytest.mark.parametrize(
    ("source", "hooks"),
    [
        ("{% for a in b %}xyz{{ c }}{% endfor %}", {"_each"}),
        ("{{ a == b }}", {"_weigh"}),
        ("{{ a < 3 < b }}", {"_weigh"}),
        ("{{ 'x' in a }}", {"_weigh"}),
        ("{{ a == 'x' }}", set()),
        ("{{ a ~ b }}", {"_concat"}),
        ("{{ a[1:] }}", {"_slice"}),
        ("{{ a[1] }}", set()),
        ("{{ a.b() }}", {"_method"}),
        ("{{ a() }}", set()),
        ("{{ [a] }}", {"_build"}),
        ("{{ {'a': b} }}", {"_build"}),
        ("{{ (a, b) }}", {"_build"}),
        ("{% set a, b = c %}", set()),
    ],
)
def test_puts_every_operation_on_the_meter(source: str, hooks: set[str]) -> None:
    """What Jinja2 would do by itself goes through a hook."""
    tree = put_on_meter(SANDBOX.parse(source))
    assert {node.name for node in tree.find_all(nodes.Filter)} == hooks


def test_charges_a_loop_for_all_of_its_body() -> None:
    """Each item costs the parts of the body, and its constant text."""
    tree = put_on_meter(SANDBOX.parse("{% for a in b if a %}xyz{{ c.d }}{% endfor %}"))
    hook = next(tree.find_all(nodes.Filter))
    cost, size = (argument.value for argument in hook.args if isinstance(argument, nodes.Const))
    # The loop itself; the output, its text, `c.d` and `c`; and the test.
    assert (cost, size) == (6, 3)


@pytest.mark.parametrize(
    ("source", "makes"),
    [
        ("{{ a.b }}", False),
        ("{{ a | default([]) }}", False),
        ("{{ a[1:] }}", False),
        ("{{ [a] }}", True),
        ("{{ {'a': b} }}", True),
        ("{{ a + b }}", True),
        ("{{ a * 3 }}", True),
        ("{{ a.items() }}", True),
        ("{{ a | batch(2) }}", True),
    ],
)
def test_tells_what_makes_new_values(source: str, makes: object) -> None:
    """Only an expression that makes a list or mapping can make one that is too large."""
    assert has_builders(SANDBOX.parse(source)) is makes
