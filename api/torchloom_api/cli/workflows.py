"""`torchloom workflows`: what a server has registered. Knows no file format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom_api.cli.connection import with_client
from torchloom_api.cli.listing import View, fetch_all, print_names
from torchloom_api.cli.screen import error_screen, print_json, print_table, print_values


if TYPE_CHECKING:
    from torchloom_api.cli.client import Client


@click.group("workflows")
def workflows_command() -> None:
    """List, show, add and remove the workflows of a server."""


@workflows_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def list_workflows(*, as_json: bool, client: Client) -> None:
    """List every version of every workflow."""
    views = list(fetch_all(client, "/api/workflows"))
    if as_json:
        print_json(views)
    else:
        columns = ("workflow", "version", "state", "traffic", "description")
        print_table(columns, [_to_row(view) for view in views])


@workflows_command.command("show")
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def show_workflow(*, name: str, as_json: bool, client: Client) -> None:
    """Tell a workflow's inputs, outputs, nodes and models."""
    view = client.show(f"/api/workflows/{name}")
    if as_json:
        print_json(view)
        return
    print_values(view, ("name", "version", "description", "state", "models", "stream"))
    signature, graph = view.get("signature"), view.get("graph")
    if isinstance(signature, dict):
        print_names("inputs", signature.get("inputs"))
        print_names("outputs", signature.get("outputs"))
    if isinstance(graph, dict):
        nodes = [(n["name"], n["call"], n["target"], ", ".join(n["needs"])) for n in graph["nodes"]]
        print_table(("node", "calls", "", "needs"), nodes)


@workflows_command.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_client
def add_workflow(*, file: Path, client: Client) -> None:
    """Register a workflow file. Its models are loaded; the command returns when they serve."""
    with error_screen.status(f"Registering {file}"):
        view = client.upload("/api/workflows", text=file.read_text(), file=str(file))
    error_screen.print(f"Workflow {view['name']}@{view['version']} serves.", highlight=False)


@workflows_command.command("remove")
@click.argument("name", metavar="NAME[@VERSION]")
@with_client
def remove_workflow(*, name: str, client: Client) -> None:
    """Remove a workflow, or one version of it, when its runs have ended."""
    with error_screen.status(f"Draining {name}"):
        client.send("DELETE", f"/api/workflows/{name}")
    error_screen.print(f"Workflow {name} is removed.", highlight=False)


def _to_row(view: View) -> tuple[object, ...]:
    return (
        view["name"],
        view["version"],
        view["state"],
        f"{view['weight']:.0%}",
        view["description"],
    )
