"""`torchloom run`: one run, printed while it goes on. Knows how to ask; not how a run is made."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom_api.cli.arguments import read_inputs
from torchloom_api.cli.connection import with_client
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.interrupt import interruptible
from torchloom_api.cli.run_event import RunEvent
from torchloom_api.cli.screen import print_json
from torchloom_api.cli.transcript import Transcript


if TYPE_CHECKING:
    from torchloom_api.cli.client import Client


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)
_FILE_SUFFIXES = {".yaml", ".yml", ".json"}


@click.command("run")
@click.argument("workflow", metavar="WORKFLOW|FILE")
@click.option("--input", "-i", "pairs", multiple=True, metavar="NAME=VALUE", help="One input.")
@click.option("--inputs", "whole", metavar="JSON", help="All inputs, as a JSON object or @file.")
@click.option("--json", "as_json", is_flag=True, help="Print the outputs as JSON, at the end.")
@click.option("--with", "others", multiple=True, type=_FILE, help="A file that FILE refers to.")
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that FILE may name.")
@with_client
def run_command(
    *,
    workflow: str,
    pairs: tuple[str, ...],
    whole: str | None,
    as_json: bool,
    others: tuple[Path, ...],
    functions: tuple[str, ...],
    client: Client,
) -> None:
    """Run a workflow of a server, and print its answer as it is written.

    Given a FILE, loads its models here, without a server, runs it once, and ends.
    Ctrl-C cancels the run.
    """

    def make_inputs(schemas: Mapping[str, Mapping[str, object]]) -> Mapping[str, object]:
        return read_inputs(pairs, whole, schemas)

    with interruptible():
        if Path(workflow).suffix in _FILE_SUFFIXES:
            from torchloom_api.cli.local_run import run_file  # noqa: PLC0415 - slow to import

            events = run_file(Path(workflow), others, make_inputs, functions=functions)
        else:
            inputs = make_inputs(_declared_inputs(client, workflow))
            events = client.run(workflow, inputs)
        with closing(events):
            show_events(events, as_json=as_json)


def show_events(events: Iterator[RunEvent], *, as_json: bool) -> None:
    """Print a run's events to its end. Raises Failure for a run that fails, or breaks off."""
    transcript = Transcript()
    for event in events:
        if not as_json or event.type == "run.failed":
            transcript.show(event)
        elif event.type == "run.finished":
            print_json(event.data.get("outputs"))
            return
    if transcript.outputs is None:
        raise Failure("The stream ended before the run did.")


def _declared_inputs(client: Client, workflow: str) -> Mapping[str, Mapping[str, object]]:
    signature = client.show(f"/api/workflows/{workflow}").get("signature")
    inputs = signature.get("inputs") if isinstance(signature, Mapping) else None
    return inputs if isinstance(inputs, Mapping) else {}
