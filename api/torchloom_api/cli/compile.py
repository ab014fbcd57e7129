"""`torchloom compile`: compiles models before anyone serves them. Knows not how that is done."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.interrupt import interruptible
from torchloom_api.cli.loading import LoadingBoard
from torchloom_api.cli.screen import error_screen, print_json, print_table
from torchloom_api.cli.size import to_size


if TYPE_CHECKING:
    from torchloom_api.cli.compile_job import Outcome


_FILE = click.Path(exists=True, dir_okay=False, path_type=Path)


@click.command("compile")
@click.argument("files", nargs=-1, required=True, type=_FILE, metavar="FILE…")
@click.option(
    "--store",
    type=click.Path(file_okay=False),
    help="Folder to keep the code in, as of serve.  [default: .torchloom]",
)
@click.option(
    "--output",
    "-o",
    type=click.Path(dir_okay=False, path_type=Path),
    metavar="FILE.tlpack",
    help="Pack the code of these models into one file, for machines of this kind.",
)
@click.option("--functions", metavar="MODULE", multiple=True, help="Module that files may name.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def compile_command(
    *,
    files: tuple[Path, ...],
    store: str | None,
    output: Path | None,
    functions: tuple[str, ...],
    as_json: bool,
) -> None:
    """Compile the models of workflow and model FILES ahead of time.

    A server with the same store finds the code there and compiles nothing. Ends with 1 where a
    model does not load, or does not compile.
    """
    from torchloom_api.cli.compile_job import CompileJob, to_json  # noqa: PLC0415 - slow to import
    from torchloom_api.cli.shelf import Shelf  # noqa: PLC0415 - not needed for --help
    from torchloom_api.settings import Settings  # noqa: PLC0415 - the same

    shelf = Shelf.read(files, functions=functions)
    shelf.require_sound()
    arguments = {"store": store, "functions": functions or None}
    settings = Settings.load(environment=os.environ, arguments=arguments)
    with interruptible(), LoadingBoard() as board:
        job = CompileJob(settings=settings, on_progress=board.report)
        outcomes = job.run(shelf.models)
        failed = [outcome for outcome in outcomes if outcome.state == "failed"]
        if not failed:
            board.finish()
    if as_json:
        print_json([to_json(outcome) for outcome in outcomes])
    else:
        _print(outcomes)
    if failed:
        raise _to_failure(failed)
    if output is not None:
        _pack(outcomes, output)


def _print(outcomes: Sequence[Outcome]) -> None:
    if not outcomes:
        error_screen.print("The files declare no model.")
        return
    rows: list[tuple[object, ...]] = []
    for outcome in outcomes:
        if not outcome.parts:
            what = "failed" if outcome.state == "failed" else f"nothing: {outcome.reason}"
            rows.append((outcome.model, outcome.device, what))
        for part in outcome.parts:
            verb = "compiled" if part.is_new else "was there"
            artefact = part.artefact
            rows.append(
                (
                    outcome.model,
                    outcome.device,
                    f"{part.part} {part.route}: {verb}",
                    f"{part.seconds:.1f} s",
                    to_size(artefact.bytes) if artefact else None,
                    artefact.folder if artefact else None,
                )
            )
    print_table(("model", "device", "code", "took", "size", "place"), rows)


def _to_failure(failed: Sequence[Outcome]) -> Failure:
    count = "One model does" if len(failed) == 1 else f"{len(failed)} models do"
    reasons = [f"{each.model} on {each.device}: {each.reason}" for each in failed]
    return Failure(f"{count} not compile.", code=ExitCode.FAILED, faults=reasons)


def _pack(outcomes: Sequence[Outcome], output: Path) -> None:
    from torchloom_api.cli.artefacts import pack_into  # noqa: PLC0415 - with the next
    from torchloom_api.cli.compile_job import artefacts_of  # noqa: PLC0415 - as above

    fixed = sorted(
        f"{outcome.model}: {part.part}"
        for outcome in outcomes
        for part in outcome.parts
        if part.artefact is None
    )
    if fixed:
        message = f"Not packed, since torch compiles it anew in each process: {', '.join(fixed)}."
        error_screen.print(message, markup=False, highlight=False)
    pack_into(output, artefacts_of(outcomes))
