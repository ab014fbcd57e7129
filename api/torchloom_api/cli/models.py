"""`torchloom models`: what a server has loaded. Knows no file format."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom_api.cli.code_column import COLUMNS as CODE_COLUMNS
from torchloom_api.cli.code_column import code_rows, summarise
from torchloom_api.cli.connection import with_client
from torchloom_api.cli.listing import View, fetch_all, print_names
from torchloom_api.cli.screen import error_screen, print_json, print_table, print_values


if TYPE_CHECKING:
    from torchloom_api.cli.client import Client


@click.group("models")
def models_command() -> None:
    """List, show, add, remove and scale the models of a server."""


@models_command.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def list_models(*, as_json: bool, client: Client) -> None:
    """List every version of every model."""
    views = list(fetch_all(client, "/api/models"))
    if as_json:
        print_json(views)
    else:
        columns = ("model", "version", "kind", "state", "traffic", "replicas", "queue", "code")
        print_table(columns, [_to_row(view) for view in views])


@models_command.command("show")
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
@with_client
def show_model(*, name: str, as_json: bool, client: Client) -> None:
    """Tell a model's state, its replicas and their code, and what it takes and gives."""
    view = client.show(f"/api/models/{name}")
    if as_json:
        print_json(view)
        return
    print_values(view, ("name", "version", "kind", "state", "queue_depth", "max_queue"))
    columns = ("device", "state", "pid", "in_flight", "max_tasks", "restarts", "load_s", "error")
    replicas = view.get("replicas")
    if isinstance(replicas, list) and replicas:
        rows = [{**replica, "load_s": f"{replica['load_s']:.1f}"} for replica in replicas]
        print_table(columns, [[row[column] for column in columns] for row in rows])
    code = code_rows(replicas)
    if code:
        print_table(CODE_COLUMNS, code)
    signature = view.get("signature")
    if isinstance(signature, dict):
        for part in ("inputs", "params", "outputs"):
            print_names(part, signature.get(part))


@models_command.command("add")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@with_client
def add_model(*, file: Path, client: Client) -> None:
    """Register a model file. The command returns when the model is loaded and serves."""
    with error_screen.status(f"Loading {file}"):
        view = client.upload("/api/models", text=file.read_text(), file=str(file))
    error_screen.print(f"Model {view['name']}@{view['version']} serves.", highlight=False)


@models_command.command("remove")
@click.argument("name", metavar="NAME[@VERSION]")
@with_client
def remove_model(*, name: str, client: Client) -> None:
    """Remove a model, or one version of it, when its queue is empty."""
    with error_screen.status(f"Draining {name}"):
        client.send("DELETE", f"/api/models/{name}")
    error_screen.print(f"Model {name} is removed.", highlight=False)


@models_command.command("scale")
@click.argument("name", metavar="NAME[@VERSION]")
@click.option("--min", "min_", type=click.IntRange(0), required=True, help="Workers per device.")
@click.option(
    "--max", "max_", type=click.IntRange(0), help="As many under load; as --min if left out."
)
@with_client
def scale_model(*, name: str, min_: int, max_: int | None, client: Client) -> None:
    """Change the number of a model's workers. Returns when the new ones serve."""
    most = min_ if max_ is None else max_
    with error_screen.status(f"Scaling {name}"):
        client.send("PATCH", f"/api/models/{name}", body={"replicas": {"min": min_, "max": most}})
    number = str(min_) if most == min_ else f"{min_} to {most}"
    error_screen.print(f"Model {name} has {number} workers on each device.", highlight=False)


def _to_row(view: View) -> tuple[object, ...]:
    replicas = view["replicas"]
    assert isinstance(replicas, list)
    ready = sum(replica["state"] == "ready" for replica in replicas)
    return (
        view["name"],
        view["version"],
        view["kind"],
        view["state"],
        f"{view['weight']:.0%}",
        f"{ready}/{len(replicas)}",
        f"{view['queue_depth']}/{view['max_queue']}",
        summarise(replicas),
    )
