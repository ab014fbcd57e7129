"""What a workflow archive says, and what is refused before anything is loaded."""

from __future__ import annotations

from pathlib import Path

import pytest
from api_fakes.torchserve import DIAMOND, MakeWar

from torchloom_api.torchserve.archive_file import UnreadableArchive
from torchloom_api.torchserve.workflow.specification import InvalidDag, Specification


def test_reads_models_and_functions(make_war: MakeWar) -> None:
    """Models have the workflow's settings unless they have their own; functions have one worker."""
    specification = Specification.read(make_war("w", DIAMOND))

    assert specification.functions == ["pre", "agg"]
    assert dict(specification.dag) == {"pre": ["m1", "m2"], "m1": ["agg"], "m2": ["agg"]}
    own = specification.node("m2")
    assert (own.url, own.handler, own.workers) == ("b.mar", None, 2)
    assert (own.batch_size, own.max_batch_delay_ms, own.attempts, own.timeout_s) == (4, 200, 4, 5.0)
    function = specification.node("pre")
    assert (function.url, function.handler, function.model_name) == (
        None,
        "functions:pre",
        "w__pre",
    )
    assert (function.workers, function.batch_size, function.max_batch_delay_ms) == (1, 1, 0)


def test_has_torchserves_defaults(make_war: MakeWar) -> None:
    """What the specification leaves out is as TorchServe has it."""
    node = Specification.read(make_war("w", "models: {m: {url: a}}\ndag: {m: []}\n")).node("m")

    assert (node.workers, node.batch_size, node.max_batch_delay_ms) == (1, 1, 50)
    assert (node.attempts, node.timeout_s) == (2, 10.0)


@pytest.mark.parametrize(("said", "tries"), [(0, 1), (1, 2), (3, 4)])
def test_counts_retries_after_the_first_try(make_war: MakeWar, said: int, tries: int) -> None:
    """As TorchServe does, whose `retry-attempts: 1` is two tries."""
    text = f"models: {{retry-attempts: {said}, m: {{url: a}}}}\ndag: {{m: []}}\n"

    assert Specification.read(make_war("w", text)).node("m").attempts == tries


def test_reads_a_node_that_nothing_follows(make_war: MakeWar) -> None:
    """A key of the dag without a value is a leaf; TorchServe fails on it."""
    assert Specification.read(make_war("w", "models: {}\ndag: {start: }\n")).dag == {"start": []}


def test_takes_another_name(make_war: MakeWar) -> None:
    """Models are named after it."""
    specification = Specification.read(make_war("w", "models: {}\ndag: {a: []}\n"), name="x")

    assert (specification.name, specification.model_name("a")) == ("x", "x__a")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("models: {}", "no `dag`"),
        ("models: {}\ndag: {}", "DAG should have only one start node"),
        ("models: {}\ndag: [a, b]", "no `dag`"),
        ("models: {}\ndag: {a: b}", "is no list"),
        ("models: {}\ndag: {a: [[b]]}", "whose name is no text"),
        ("models: {}\ndag: {a: [b], b: [c], c: [b]}", "Not a valid DAG"),
        ("models: {}\ndag: {a: [b], b: [a]}", "DAG should have only one start node"),
        ("models: {}\ndag: {a: [a]}", "Self loop exception"),
        ("models: {}\ndag: {a: [c], b: [c]}", "DAG should have only one start node"),
    ],
)
def test_refuses_a_dag_that_could_not_run(make_war: MakeWar, text: str, says: str) -> None:
    """In TorchServe's words, where it has any."""
    with pytest.raises(InvalidDag, match=says):
        Specification.read(make_war("w", text))


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (None, "it has no file 'workflow.yaml'"),
        ("", "no `models`"),
        ("dag: {a: [b]}", "no `models`"),
        ("models: [\n", "workflow.yaml is no YAML"),
        ("[1]", "is no mapping"),
        ("models: {batch-size: x}\ndag: {a: [b]}", "`batch-size: x` is no whole number"),
        ("models: {batch-size: [1]}\ndag: {a: [b]}", "`batch-size: list` is no whole number"),
        ("models: {timeout-ms: -1}\ndag: {a: [b]}", "is below 0"),
        ("models: {batch-size: 99999999999}\ndag: {a: [b]}", "is no whole number"),
        ("models: {m: {batch-size: 1}}\ndag: {m: []}", "'m' has no url"),
        ("models: {m: {url: [x]}}\ndag: {m: []}", "'m' has no url"),
    ],
)
def test_refuses_what_cannot_be_read(make_war: MakeWar, text: str | None, says: str) -> None:
    """The text tells what is wrong."""
    with pytest.raises(UnreadableArchive, match=says):
        Specification.read(make_war("w", text))


def test_needs_a_handler_for_functions(make_war: MakeWar) -> None:
    """And none for models alone."""
    with pytest.raises(UnreadableArchive, match="no handler that could hold a, b"):
        Specification.read(make_war("w", "models: {}\ndag: {a: [b]}\n", handler=None))
    models = "models: {a: {url: x.mar}}\ndag: {a: []}\n"
    assert Specification.read(make_war("w", models, handler=None)).handler is None


@pytest.mark.parametrize("manifest", [{}, {"workflow": 1}, {"workflow": {"workflowName": "w"}}])
def test_needs_a_manifest(make_war: MakeWar, manifest: object) -> None:
    """A model's archive is no workflow."""
    with pytest.raises(UnreadableArchive, match="names no specFile"):
        Specification.read(make_war("w", "models: {}\ndag: {a: [b]}\n", manifest=manifest))


@pytest.mark.parametrize("content", [b"", b"this is no zip", b"PK\x03\x04 cut short"])
def test_needs_an_archive(store: Path, content: bytes) -> None:
    """A file that is none is told, and not tried further."""
    path = store / "w.war"
    path.write_bytes(content)
    with pytest.raises(UnreadableArchive, match="cannot be opened"):
        Specification.read(path)


def test_survives_a_bomb_of_aliases(make_war: MakeWar) -> None:
    """Whose text would fill the memory: names and numbers are words."""
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for before, name in zip("abcdefgh", "bcdefghi", strict=True):
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    lines += ["models: {batch-size: *i}", "dag: {start: [*i]}"]
    with pytest.raises(UnreadableArchive, match="`batch-size: list`"):
        Specification.read(make_war("w", "\n".join(lines)))
