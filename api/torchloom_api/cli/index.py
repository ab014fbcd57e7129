"""`torchloom index`: build, describe and search the vector indexes that files declare."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import rich_click as click

from torchloom_api.cli.screen import (
    error_screen,
    make_bar,
    print_documents,
    print_json,
    print_values,
)


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


def _with_file(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says which index is meant: `file`, `index` and `others`."""
    command = click.option(
        "--with", "others", multiple=True, type=_FILE, help="A file that FILE refers to."
    )(command)
    command = click.option(
        "--index", metavar="NAME", help="Which index, where FILE declares several."
    )(command)
    return click.argument("file", type=_FILE)(command)


@click.group("index")
def index_command() -> None:
    """Build, describe and search the vector index of a workflow or model FILE."""


@index_command.command("build")
@_with_file
@click.option(
    "--documents",
    "places",
    multiple=True,
    metavar="PATH",
    help="Folder, file or pattern to read, in place of those that the file names.",
)
@click.option("--embedder", metavar="NAME", help="The model that embeds, if the file names none.")
def build(
    *,
    file: Path,
    index: str | None,
    others: tuple[Path, ...],
    places: tuple[str, ...],
    embedder: str | None,
) -> None:
    """Build the index anew: read documents, cut them into passages, embed and store them.

    A server that is up goes on with the old index until the new one takes its place in one step.
    """
    from torchloom_api.cli.index_job import IndexJob  # noqa: PLC0415 - the models are slow to import

    job = IndexJob.find(file, index, others, embedder=embedder)
    with make_bar(error_screen) as bar:
        row = bar.add_task(f"index {job.name}", doing="starting", total=None)

        def show(doing: str, done: float | None, total: float | None = 1.0) -> None:
            known = None if done is None else total
            bar.update(row, doing=doing, completed=done or 0, total=known)

        report = job.build(places, show)
    error_screen.print(
        f"Index {job.name}: {report.num_passages} passages of {report.num_files} files "
        f"({report.num_added} new, {report.num_kept} kept, {report.num_removed} removed), "
        f"{report.dimension} dimensions, in {report.duration_s:.1f} s.",
        highlight=False,
    )
    click.echo(job.place)


@index_command.command("info")
@_with_file
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def info(*, file: Path, index: str | None, others: tuple[Path, ...], as_json: bool) -> None:
    """Tell what an index holds."""
    from torchloom_api.cli.index_job import IndexJob  # noqa: PLC0415 - as above

    facts = IndexJob.find(file, index, others).describe()
    if as_json:
        print_json(facts)
    else:
        print_values(facts, tuple(facts))


@index_command.command("search")
@_with_file
@click.argument("text")
@click.option("--top-k", "-k", default=3, show_default=True, type=click.IntRange(1, 1000))
@click.option("--filter", "filter_", metavar="JSON", help="Conditions on metadata.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def search(
    *,
    file: Path,
    index: str | None,
    others: tuple[Path, ...],
    text: str,
    top_k: int,
    filter_: str | None,
    as_json: bool,
) -> None:
    """Find the passages nearest to TEXT."""
    from torchloom_api.cli.arguments import read_object  # noqa: PLC0415 - with the next
    from torchloom_api.cli.index_job import IndexJob  # noqa: PLC0415 - as above

    conditions = read_object("--filter", filter_) if filter_ else {}
    job = IndexJob.find(file, index, others)
    with error_screen.status("Loading the embedder"):
        documents = job.search(text, top_k=top_k, conditions=conditions)
    if as_json:
        print_json(documents)
    else:
        print_documents(documents)
