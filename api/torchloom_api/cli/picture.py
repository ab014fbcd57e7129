"""`torchloom graph`: a workflow drawn, without a server. Knows nothing of how it runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import rich_click as click

from torchloom_api.cli.failure import Failure
from torchloom_api.cli.screen import print_table, screen


if TYPE_CHECKING:
    from torchloom.graph import Graph, Node


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)

Format = Literal["text", "mermaid", "svg"]

_FORMATS: Mapping[str, Format] = {".svg": "svg", ".mmd": "mermaid", ".md": "mermaid"}


@click.command("graph")
@click.argument("file", type=_FILE)
@click.option(
    "--format",
    "format_",
    type=click.Choice(["text", "mermaid", "svg"]),
    help="By the ending of --output, unless named; else text.",
)
@click.option("--output", "-o", type=click.Path(dir_okay=False, path_type=Path), help="A file.")
@click.option("--with", "others", multiple=True, type=_FILE, help="A file that FILE refers to.")
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that files may name.")
def graph_command(
    *,
    file: Path,
    format_: Format | None,
    output: Path | None,
    others: tuple[Path, ...],
    functions: tuple[str, ...],
) -> None:
    """Draw the workflow of FILE: its nodes, and what each of them needs."""
    from torchloom_api.cli.shelf import Shelf  # noqa: PLC0415 - not needed for --help

    shelf = Shelf.read([file, *others], functions=functions)
    shelf.require_sound()
    if file not in shelf.workflows:
        message = f"{file} holds a model, not a workflow: there is nothing to draw."
        raise Failure(message)
    graph = shelf.workflows[file]
    if format_ is None and output is not None:
        format_ = _FORMATS.get(output.suffix)
    if format_ in (None, "text") and output is None:
        _print_text(graph)
        return
    text = _draw(graph, format_ or "svg")
    if output is None:
        click.echo(text)
    else:
        output.write_text(text)


def _draw(graph: Graph, format_: Format) -> str:
    from torchloom_workflows.picture import to_mermaid, to_svg  # noqa: PLC0415 - as above

    if format_ == "text":
        message = "Text is for the terminal; write --format mermaid or svg to a file."
        raise click.UsageError(message)
    return to_svg(graph) if format_ == "svg" else to_mermaid(graph)


def _print_text(graph: Graph) -> None:
    import networkx as nx  # noqa: PLC0415 - as above

    screen.print(f"[bold]{graph.label}[/] {graph.description}", highlight=False)
    nodes = [graph.nodes[name] for name in nx.lexicographical_topological_sort(graph.dag)]
    print_table(("node", "calls", "needs", ""), [_to_row(node, graph) for node in nodes])
    print_table(("outputs", "from"), [(o, _sort(b.reads)) for o, b in graph.outputs.items()])


def _to_row(node: Node, graph: Graph) -> tuple[str, ...]:
    marks = {
        "streams": node.name in graph.stream,
        "foreach": node.foreach is not None,
        "when": node.when is not None,
        "cached": node.cache is not None,
    }
    return (
        node.name,
        _to_call(node),
        ", ".join(need + " (live)" * (need == node.live) for need in sorted(node.needs)),
        ", ".join(mark for mark, is_set in marks.items() if is_set),
    )


def _to_call(node: Node) -> str:
    from torchloom.graph import ModelCall, WorkflowCall  # noqa: PLC0415 - as above

    match node.call:
        case ModelCall(model, version):
            return f"model {model}" if version is None else f"model {model}@{version}"
        case WorkflowCall(workflow, version):
            return f"workflow {workflow}" if version is None else f"workflow {workflow}@{version}"
        case _:
            return "template"


def _sort(names: frozenset[str]) -> str:
    return ", ".join(sorted(names))
