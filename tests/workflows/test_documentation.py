"""The page on workflow files says what the code does."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

import pytest
from workflow_fakes.catalog import build

from torchloom import items
from torchloom.fan_out import MAX_ITEMS
from torchloom_workflows.builder import MAX_EXPRESSIONS
from torchloom_workflows.filter import FILTERS, TESTS
from torchloom_workflows.loader import Limits
from torchloom_workflows.meter import MAX_BITS, MAX_CHARS, MAX_DEPTH, MAX_UNITS
from torchloom_workflows.method import FUNCTIONS, METHODS
from torchloom_workflows.rewrite import MAX_LOOP_DEPTH, MAX_NODES, MAX_TREE_DEPTH
from torchloom_workflows.schema import WORKFLOW_SCHEMA


_PAGE = (Path(__file__).parents[2] / "docs" / "workflows.md").read_text()
_FILES = re.findall(r"```yaml\n(.*?)```", _PAGE, re.DOTALL)


@pytest.mark.parametrize("text", _FILES)
def test_every_file_of_the_page_builds(text: str) -> None:
    """The examples pass the checks."""
    assert build(text).nodes


@pytest.mark.parametrize(
    ("words", "names"),
    [
        ("Filters:", FILTERS),
        ("Tests:", TESTS),
        ("Functions:", FUNCTIONS),
        ("of strings", METHODS[str]),
        ("of lists", METHODS[list]),
        ("of mappings", METHODS[Mapping]),
    ],
)
def test_lists_what_expressions_offer(words: str, names: Iterable[str]) -> None:
    """The lists of filters, tests, functions and methods are complete, and hold nothing else."""
    listed = re.search(rf"{words} `([^`]+)`", _PAGE)
    assert listed is not None
    assert listed[1].split() == sorted(names)


def _table(heading: str) -> set[str]:
    section = _PAGE.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    first_cells = re.findall(r"^\| (`.*?`) \|", section, re.MULTILINE)
    return {name for cell in first_cells for name in re.findall(r"`(\w+)`", cell)}


def test_lists_every_key() -> None:
    """Each key of the file and of a node has its line, and no other."""
    properties = WORKFLOW_SCHEMA["properties"]
    assert isinstance(properties, dict)
    assert _table("The file") == set(properties)
    node = properties["nodes"]["additionalProperties"]["properties"]
    assert _table("What a node may say") == set(node)


def test_tells_the_bounds() -> None:
    """The numbers of the page are those of the code."""
    bounds = _PAGE.partition("## Bounds\n")[2].partition("\n## ")[0]
    limits = Limits()
    assert limits.max_bytes == 1 << 20
    for number in (
        limits.max_depth,
        limits.max_values,
        MAX_EXPRESSIONS,
        MAX_NODES,
        MAX_TREE_DEPTH,
        MAX_LOOP_DEPTH,
        MAX_UNITS,
        MAX_CHARS,
        MAX_DEPTH,
        MAX_ITEMS,
    ):
        assert re.search(rf"\b{number:,}\b", bounds), number
    assert f"{MAX_BITS} bits" in bounds
    seconds = f"{items._LIVE_TIMEOUT_S:g} s of searching while a text is written"
    assert f"{seconds}, {items._PATTERN_TIMEOUT_S:g} s at its end" in bounds
