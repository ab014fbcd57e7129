"""`torchloom graph`: text, Mermaid and SVG."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from click.testing import CliRunner

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode


WORKFLOW = """\
name: chain
nodes:
  last: {template: "{{ first.text }}!"}
  first: {template: "hello"}
outputs: {text: "{{ last.text }}"}
"""

LIVE = """\
name: live
nodes:
  first: {function: "shop.lists:count"}
  last: {template: "{{ item }}", foreach: "{{ first.items }}"}
outputs: {values: "{{ last.value }}"}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a workflow of two nodes, written in the wrong order."""
    file = tmp_path / "chain.yaml"
    file.write_text(WORKFLOW)
    return file


def test_prints_nodes_in_the_order_in_which_they_run(file: Path) -> None:
    """What is needed stands above what needs it, whatever the order in the file."""
    printed = CliRunner().invoke(main, ["graph", str(file)]).stdout
    assert printed.index("first") < printed.index("last")
    assert ["last", "template", "first"] in [line.split() for line in printed.splitlines()]


def test_marks_items_that_are_taken_live(file: Path) -> None:
    """The need that a node does not wait for says so."""
    file.write_text(LIVE)
    arguments = ["graph", str(file), "--functions", "shop"]
    printed = CliRunner().invoke(main, arguments).stdout
    assert "first (live)" in printed
    assert "== live ==>" in CliRunner().invoke(main, [*arguments, "--format=mermaid"]).stdout


def test_prints_mermaid(file: Path) -> None:
    """Mermaid goes to standard output, to be pasted into a page."""
    printed = CliRunner().invoke(main, ["graph", str(file), "--format", "mermaid"]).stdout
    assert printed.startswith(("flowchart", "graph"))


def test_writes_svg_by_the_files_ending(file: Path, tmp_path: Path) -> None:
    """The ending of the output file says what is written."""
    picture = tmp_path / "chain.svg"
    result = CliRunner().invoke(main, ["graph", str(file), "-o", str(picture)])
    assert result.exit_code == ExitCode.OK
    assert ET.fromstring(picture.read_text()).tag.endswith("svg")


def test_refuses_a_model_file(tmp_path: Path) -> None:
    """A model has no graph."""
    file = tmp_path / "model.yaml"
    file.write_text("name: a\nkind: embedder\nsource: b\n")
    result = CliRunner().invoke(main, ["graph", str(file)])
    assert result.exit_code == ExitCode.FAILED
    assert "nothing to draw" in result.stderr


def test_shows_the_faults_of_a_file_that_does_not_pass(file: Path) -> None:
    """What cannot be run cannot be drawn: the faults are printed instead."""
    file.write_text(WORKFLOW.replace("first.text", "frist.text"))
    result = CliRunner().invoke(main, ["graph", str(file)])
    assert result.exit_code == ExitCode.INVALID_FILE
    assert f"{file}:3:" in result.stderr
