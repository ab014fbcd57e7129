"""Texts per second of BERTs through the server at 32 clients, over their engine in process."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from functools import partial

from benchmarks.folders import make_bert
from benchmarks.gpu.setup import Setup
from benchmarks.gpu.side import COMPILE, Peer, Sides, engine, median, over, server
from benchmarks.load import measure
from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report
from benchmarks.server import Server
from benchmarks.texts import passages


CLIENTS = 32
BATCHES = (32, 64)
SECONDS = 1.0

#: Name → hidden size and layers.
SHAPES = {"MiniLM's shape": (384, 6), "bge-base's shape": (768, 12)}

_SMALL = {"MiniLM's shape": (48, 2)}

#: The sides that are measured of those that are asked for.
_SIDES = ("eager", "inductor", "reduce-overhead")

_BODY = {"inputs": {"text": passages()[0]}}


def makers_of(setup: Setup, shape: str, size: tuple[int, int]) -> dict[str, Callable[[], Peer]]:
    """Make a BERT; say how to start a server and an engine in process for each way to compile."""
    folder = setup.work / f"bert-{size[0]}"
    if not (folder / "config.json").exists():
        make_bert(folder, hidden=size[0], layers=size[1])
    text = (
        f"name: bert\nkind: embedder\nsource: {folder}\ndtype: {setup.dtype}\n"
        f"devices: [{setup.device!r}]\nbatching: {{max_size: {max(BATCHES)}}}\n"
    )
    makers: dict[str, Callable[[], Peer]] = {}
    for name in ways_of(setup):
        model, place = f"{text}compile: {COMPILE[name]}\n", setup.work / f"embedder-{size[0]}"
        makers[f"{shape}, {name}, served"] = partial(server, model, place / f"served-{name}")
        makers[f"{shape}, {name}"] = partial(
            engine, model, place / f"alone-{name}", device=setup.device
        )
    return makers


def ways_of(setup: Setup) -> list[str]:
    """Give the ways to compile that are measured here, of those that are asked for."""
    return [name for name in setup.sides if name in _SIDES]


def per_s(peer: Peer, batch: int) -> float:
    """Give texts per second."""
    if isinstance(peer, LineProcess):
        return peer.ask(batch=[_BODY] * batch, seconds=SECONDS)["per_s"]
    url = f"{peer.url}/api/models/bert/predict"
    return measure(url, _BODY, clients=CLIENTS, seconds=SECONDS, warmup_s=0.3).per_s


def measure_batch(sides: Sides, setup: Setup, batch: int) -> dict[str, list[float]]:
    """Measure engines in process at a size of batch; and once, with the first, the servers."""
    calls = {
        name: partial(per_s, each, batch)
        for name, each in sides.open.items()
        if batch == CLIENTS or not isinstance(each, Server)
    }
    return sides.measure(calls, repeats=setup.repeats)


def add_row(
    report: Report, sides: Sides, figures: Mapping[int, Mapping[str, list[float]]], case: str
) -> None:
    """Add what one shape came to, compiled in one way."""
    shape, name = case.rsplit(", ", 1)
    served = median(figures[CLIENTS], f"{case}, served")
    alone = {batch: median(of, case) for batch, of in figures.items()}
    found = {batch: speed for batch, speed in alone.items() if isinstance(speed, float)}
    batch = max(found, key=lambda each: found[each], default=CLIENTS)
    report.add(
        shape,
        name,
        served,
        alone[batch],
        over(served, alone[batch]),
        over(served, median(figures[CLIENTS], f"{shape}, eager, served")),
        batch,
        sides.until_ready_s(f"{case}, served"),
        sides.until_warm_s(f"{case}, served"),
    )


def main() -> None:
    """Measure all shapes, in turn."""
    setup = Setup.parse()
    shapes = _SMALL if setup.is_small else SHAPES
    report = setup.report(
        "embedder",
        f"BERTs at {CLIENTS} clients, {setup.dtype}: texts/s",
        (
            "",
            "by",
            "served",
            "in process",
            "served over in process",
            "served over eager",
            "best batch",
            "until ready, s",
            "until warm, s",
        ),
    )
    with ExitStack() as stack:
        sides = Sides(stack)
        makers: dict[str, Callable[[], Peer]] = {}
        for shape, size in shapes.items():
            makers |= makers_of(setup, shape, size)
        sides.start(makers)
        sides.warm({name: [partial(per_s, each, CLIENTS)] for name, each in sides.open.items()})
        figures: dict[int, dict[str, list[float]]] = {}
        for batch in BATCHES:
            figures[batch] = measure_batch(sides, setup, batch)
            report.rows.clear()
            for shape in shapes:
                for name in ways_of(setup):
                    add_row(report, sides, figures, f"{shape}, {name}")
            sides.explain(report)
            report.write()


if __name__ == "__main__":
    main()
