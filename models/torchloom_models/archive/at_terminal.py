"""Opening an archive at a terminal, where its author sits: with an editor, or in a debugger.

What the handler raises is printed there, from the author's first line on, and what is answered says
where that was. Nobody else is told so much: `opening.py` serves all others.
"""

from __future__ import annotations

import faulthandler
import inspect
import logging
import pdb  # noqa: T100 - for those who call it
import sys
from collections.abc import Awaitable, Mapping
from pathlib import Path
from typing import Final

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.errors import Fault, HandlerFailed, ModelLoadError
from torchloom_models.archive.batching import AnyEngine
from torchloom_models.archive.context import Context
from torchloom_models.archive.engine import check_items
from torchloom_models.archive.entry import Entry
from torchloom_models.archive.failure import to_failure
from torchloom_models.archive.opening import open_handler
from torchloom_models.archive.source_file import import_from
from torchloom_models.archive.trace import Authored


#: The key of an engine's config that lists the author's folders.
AUTHORED: Final = "authored"

#: Who logs the traces that are printed here: as a script, of a call that failed, and of an archive
#: that is loaded.
_WORKER: Final = logging.getLogger("__main__")
_FAILURE: Final = logging.getLogger("torchloom_models.archive.failure")
_LOADING: Final = logging.getLogger("torchloom_models.archive.entry")

#: The server's own code, in whose doings the author takes no interest.
_OURS: Final = ("torchloom", "torchloom_models")


def open_at_terminal(config: Mapping[str, object], device: Device, report: Report) -> AnyEngine:
    """Open an archive that is a folder of links. Raises as `open_handler` does, saying where."""
    authored = Authored.of(config[AUTHORED])
    faulthandler.enable()  # what kills a process shows the line, too
    _leave_interrupts_alone()
    import_from(Path(str(config["source"])).resolve())
    _LOADING.disabled = True
    for name in _OURS:
        logging.getLogger(name).setLevel(logging.WARNING)
    try:
        engine = open_handler(config, device, report, adapt=lambda entry: told(entry, authored))
    except ModelLoadError as error:
        raise _placed(error, authored) from None
    _WORKER.disabled = _FAILURE.disabled = True
    return engine


def told(entry: Entry, authored: Authored) -> Entry:
    """Print what an entry raises, or gives that cannot be; the failure says where and what."""

    def call(rows: object, context: Context) -> object:
        assert isinstance(rows, list), "a batch"
        try:
            given = entry(rows, context)
            if inspect.iscoroutine(given):
                return finish(given, len(rows))
            return check_items(given, len(rows))
        except (Exception, SystemExit) as error:  # noqa: BLE001 - a handler may raise anything
            raise explain(error, authored) from None

    async def finish(given: Awaitable[object], num_rows: int) -> object:
        try:
            return check_items(await given, num_rows)
        except (Exception, SystemExit) as error:  # noqa: BLE001 - the same
            raise explain(error, authored) from None

    return call


def explain(error: BaseException, authored: Authored) -> HandlerFailed:
    """Print an error, and give the failure that it stands for, which says more than it would.

    A PredictionException keeps its words: they are the handler's own answer.
    """
    failure = to_failure(error)
    cause = failure.faults[0].message if failure.faults else ""
    if failure is error:
        print(f"{failure.message}: {cause}.", file=sys.stderr, flush=True)  # noqa: T201 - the terminal
        place = None
    else:
        authored.show(error)
        place = authored.find(error)
    if not cause:
        return failure
    said = [failure.message, *([str(place)] if place is not None else []), cause]
    return HandlerFailed(": ".join(said), cause=cause, status=failure.status)


def _placed(error: ModelLoadError, authored: Authored) -> ModelLoadError:
    """Print what a handler raised as it was loaded, and say where."""
    cause = error.__cause__
    if cause is None:
        return error
    authored.show(cause)
    place = authored.find(cause)
    if place is None:
        return error
    fault = Fault(message=error.message, file=str(place.file), line=place.line)
    failure = ModelLoadError(f"{place}: {error.message}", faults=[fault])
    failure.status = error.status  # type: ignore[misc]  # a lack of memory has its own
    return failure


class _Prompt(pdb.Pdb):
    """pdb that leaves Ctrl-C to the server, which it ends: after `continue` pdb would take it."""

    def __init__(self, *arguments: object, **named: object) -> None:
        super().__init__(*arguments, **{**named, "nosigint": True})  # type: ignore[arg-type]  # pdb's


def _leave_interrupts_alone() -> None:
    pdb.Pdb = _Prompt  # type: ignore[misc]  # `breakpoint` and `pdb.set_trace` make what has this name
