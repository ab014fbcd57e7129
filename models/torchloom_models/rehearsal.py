"""Rehearsal: an engine that is opened to compile, and then tells what was compiled.

It runs in a worker as any engine does, with that worker's threads, on which compiled code depends.
Knows no kind of model.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import cast

from torchloom.deployment import Report
from torchloom.device import Device
from torchloom.engine import BatchEngine, Values, Work
from torchloom.worker import import_factory
from torchloom_models.piece import Piece
from torchloom_models.watch import Watched, watching


#: The factory, for deployments.
FACTORY = "torchloom_models.rehearsal:open_rehearsal"


def open_rehearsal(config: Mapping[str, object], device: Device, report: Report) -> BatchEngine:
    """Open the engine of `config["factory"]` with `config["config"]`, up to its warm-up.

    Any task is answered with `pieces` (see `piece.Piece`) and `failures`, the reasons for what
    runs eagerly. Raises what the factory raises.
    """
    factory = import_factory(str(config["factory"]))
    with watching() as callables:
        engine = factory(cast("Mapping[str, object]", config["config"]), device, report)
    told = {
        "pieces": [asdict(piece) for piece in _each_once(callables)],
        "failures": list(dict.fromkeys(reason for each in callables for reason in each.failures)),
    }

    def tell(works: Sequence[Work]) -> list[Values]:
        return [told for _ in works]

    return BatchEngine(tell, max_tasks=1, device=engine.device, close=engine.close)


def _each_once(callables: Sequence[Watched]) -> Iterator[Piece]:
    """Leave out what was found because it had just been made, where devices were tried."""
    told: set[str] = set()
    for piece in (piece for each in callables for piece in each.pieces):
        if piece.artefact is None or piece.artefact not in told:
            yield piece
        if piece.artefact is not None:
            told.add(piece.artefact)
