"""`--input name=value` by declared type."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from torchloom_api.cli.arguments import read_inputs


SCHEMAS = {
    "question": {"type": "string"},
    "top_k": {"type": "integer"},
    "tags": {"type": "array"},
}


def test_reads_values_by_the_declared_type() -> None:
    """A string stays as it is written, whatever it looks like; everything else is JSON."""
    inputs = read_inputs(["question=12", "top_k=12", 'tags=["a"]'], None, SCHEMAS)
    assert inputs == {"question": "12", "top_k": 12, "tags": ["a"]}


def test_keeps_equals_signs_in_the_value() -> None:
    """Only the first equals sign parts name and value."""
    assert read_inputs(["question=a=b=c"], None, SCHEMAS) == {"question": "a=b=c"}


def test_lays_pairs_over_the_json_object() -> None:
    """--inputs gives the ground, --input the changes."""
    inputs = read_inputs(["top_k=2"], '{"question": "why", "top_k": 5}', SCHEMAS)
    assert inputs == {"question": "why", "top_k": 2}


def test_takes_undeclared_names_as_json_or_text() -> None:
    """The server says what is wrong with an unknown name; the value is a best guess."""
    assert read_inputs(["a=1", "b=one"], None, {}) == {"a": 1, "b": "one"}


def test_reads_a_value_from_a_file(tmp_path: Path) -> None:
    """`name=@file` is for what is too long for a command line."""
    file = tmp_path / "question.txt"
    file.write_text("Why?\n")
    assert read_inputs([f"question=@{file}"], None, SCHEMAS) == {"question": "Why?\n"}


@pytest.mark.parametrize(
    ("pairs", "whole", "says"),
    [
        (["question"], None, "write name=value"),
        (["=x"], None, "write name=value"),
        (["top_k=many"], None, "is of type integer"),
        (["question=@/no/such/file"], None, "cannot read"),
        ([], "[1]", "must be a JSON object"),
        ([], "{", "is no JSON"),
    ],
)
def test_refuses_what_it_cannot_read(pairs: list[str], whole: str | None, says: str) -> None:
    """A wrong command line is a usage error that names the option."""
    with pytest.raises(click.UsageError, match=says):
        read_inputs(pairs, whole, SCHEMAS)
