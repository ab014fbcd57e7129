"""`torchloom artefacts`: the compiled code that a store keeps. Knows not what it is made of."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import rich_click as click

from torchloom.worker_environment import said_threads
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.screen import error_screen, print_json, print_table
from torchloom_api.cli.size import to_size


if TYPE_CHECKING:
    from torchloom_models.artefact import Artefact, ArtefactStore


_DAY_S = 86_400.0


def _with_store(command: Callable[..., None]) -> Callable[..., None]:
    """Add what says which store is meant."""
    return click.option(
        "--store",
        type=click.Path(file_okay=False),
        help="Folder of the store, as of serve.  [default: .torchloom]",
    )(command)


@click.group("artefacts")
def artefacts_command() -> None:
    """List, carry and clear out the compiled code that a store keeps."""


@artefacts_command.command("list")
@_with_store
@click.option("--json", "as_json", is_flag=True, help="Print JSON.")
def list_artefacts(*, store: str | None, as_json: bool) -> None:
    """List what is kept, the last used first, and what does not fit this machine any more."""
    artefacts = _open(store).artefacts()
    if as_json:
        print_json([_to_json(artefact) for artefact in artefacts])
        return
    columns = ("key", "model", "device", "size", "last use", "unusable here")
    print_table(columns, [_to_row(artefact) for artefact in artefacts])


@artefacts_command.command("pack")
@click.argument("output", type=click.Path(dir_okay=False, path_type=Path), metavar="FILE.tlpack")
@_with_store
def pack_artefacts(*, output: Path, store: str | None) -> None:
    """Pack all that fits this machine into one file, for others of its kind.

    To pack what some models need, and no more: torchloom compile FILE… --output FILE.tlpack
    """
    pack_into(output, [each for each in _open(store).artefacts() if not each.differences])


@artefacts_command.command("unpack")
@click.argument("file", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@_with_store
def unpack_artefacts(*, file: Path, store: str | None) -> None:
    """Put what a pack FILE holds into the store; all of it, or nothing.

    Refuses a pack that is damaged, or of another kind of machine. A pack holds native code, which
    servers then run: unpack only what you trust.
    """
    from torchloom_models.pack import unpack  # noqa: PLC0415 - not needed for --help

    artefacts = _open(store)
    try:
        taken = unpack(file, artefacts)
    except OSError as error:
        message = f"Cannot unpack {str(file)!r}: {error}."
        raise Failure(message) from error
    num_new = sum(taken.values())
    error_screen.print(
        f"{num_new} artefacts are new, {len(taken) - num_new} were there: {artefacts.root}",
        markup=False,
        highlight=False,
    )
    _tell_threads([each for each in artefacts.artefacts() if each.name in taken])


@artefacts_command.command("prune")
@_with_store
@click.option(
    "--unused-days",
    type=click.FloatRange(0),
    metavar="DAYS",
    help="Also remove what was not used for so long.",
)
def prune_artefacts(*, store: str | None, unused_days: float | None) -> None:
    """Remove what this machine, with its versions of torch and the rest, cannot use any more."""
    unused_s = None if unused_days is None else unused_days * _DAY_S
    removed = _open(store).prune(unused_s=unused_s)
    for artefact in removed:
        why = "; ".join(artefact.differences) or f"last used {_to_day(artefact)}"
        line = f"{artefact.name}: {why}"
        error_screen.print(line, markup=False, highlight=False, soft_wrap=True)
    size = to_size(sum(artefact.bytes for artefact in removed))
    error_screen.print(f"Removed {len(removed)} artefacts, {size}.", highlight=False)


def pack_into(output: Path, artefacts: Sequence[Artefact]) -> None:
    """Write a pack, and say so. Raises Failure where there is nothing to pack, or no room."""
    from torchloom_models.pack import write_pack  # noqa: PLC0415 - not needed for --help

    if not artefacts:
        raise Failure("There is nothing to pack: no compiled code of this machine is kept.")
    try:
        write_pack(output, artefacts)
    except OSError as error:
        message = f"Cannot write {str(output)!r}: {error}."
        raise Failure(message) from error
    size = to_size(output.stat().st_size)
    error_screen.print(f"Packed {len(artefacts)} artefacts, {size}.", highlight=False)
    click.echo(output)


def _open(store: str | None) -> ArtefactStore:
    from torchloom_api.settings import Settings  # noqa: PLC0415 - not needed for --help
    from torchloom_models.artefact import ArtefactStore  # noqa: PLC0415 - the same

    settings = Settings.load(environment=os.environ, arguments={"store": store})
    return ArtefactStore(settings.artefacts_folder)


def _tell_threads(artefacts: Iterable[Artefact]) -> None:
    """Say which threads a worker needs, where those are not the ones that it gets by itself."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    here = said_threads(os.environ) or cores
    others = {each.about.threads for each in artefacts} - {None, here}
    for threads in sorted(filter(None, others)):
        message = (
            f"Some of it is for workers of {threads} threads, and here they have {here}: write "
            f"`threads: {threads}` in the model file, or it is compiled anew."
        )
        error_screen.print(message, markup=False, highlight=False)


def _to_row(artefact: Artefact) -> tuple[object, ...]:
    return (
        artefact.name,
        artefact.about.name,
        artefact.about.device,
        to_size(artefact.bytes),
        _to_day(artefact),
        "; ".join(artefact.differences),
    )


def _to_json(artefact: Artefact) -> dict[str, object]:
    return {
        "key": artefact.name,
        "model": artefact.about.name,
        "part": artefact.about.part,
        "device": artefact.about.device,
        "dtype": artefact.about.dtype,
        "threads": artefact.about.threads,
        "bytes": artefact.bytes,
        "used_at": _to_time(artefact).isoformat(),
        "folder": str(artefact.folder),
        "differences": artefact.differences,
    }


def _to_day(artefact: Artefact) -> str:
    return _to_time(artefact).strftime("%Y-%m-%d %H:%M")


def _to_time(artefact: Artefact) -> datetime:
    return datetime.fromtimestamp(artefact.used_at, tz=UTC)
