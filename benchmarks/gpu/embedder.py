"""Texts per second of BERTs through the server at 32 clients, over their engine in process."""

from __future__ import annotations

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


def start(sides: Sides, setup: Setup, size: tuple[int, int]) -> None:
    """Make a BERT; start a server and an engine in process of it for each way to compile."""
    folder = setup.work / f"bert-{size[0]}"
    if not (folder / "config.json").exists():
        make_bert(folder, hidden=size[0], layers=size[1])
    text = (
        f"name: bert\nkind: embedder\nsource: {folder}\ndtype: {setup.dtype}\n"
        f"devices: [{setup.device!r}]\nbatching: {{max_size: {max(BATCHES)}}}\n"
    )
    makers = {}
    for name in setup.sides:
        if name in _SIDES:
            model, place = f"{text}compile: {COMPILE[name]}\n", setup.work / f"embedder-{size[0]}"
            makers[f"served, {name}"] = partial(server, model, place / f"served-{name}")
            makers[name] = partial(engine, model, place / f"alone-{name}", device=setup.device)
    sides.start(makers)


def per_s(peer: Peer, batch: int) -> float:
    """Give texts per second."""
    if isinstance(peer, LineProcess):
        return peer.ask(batch=[_BODY] * batch, seconds=SECONDS)["per_s"]
    url = f"{peer.url}/api/models/bert/predict"
    return measure(url, _BODY, clients=CLIENTS, seconds=SECONDS, warmup_s=0.3).per_s


def compare(report: Report, setup: Setup, shape: str, size: tuple[int, int]) -> None:
    """Measure one shape."""
    with ExitStack() as stack:
        sides = Sides(stack)
        start(sides, setup, size)
        sides.warm({name: [partial(per_s, each, CLIENTS)] for name, each in sides.open.items()})
        figures = {
            batch: sides.measure(
                {
                    name: partial(per_s, each, batch)
                    for name, each in sides.open.items()
                    if batch == CLIENTS or not isinstance(each, Server)
                },
                repeats=setup.repeats,
            )
            for batch in BATCHES
        }
        for name in (each for each in setup.sides if each in _SIDES):
            served = median(figures[CLIENTS], f"served, {name}")
            alone = [(median(figures[batch], name), batch) for batch in BATCHES]
            best, batch = max(alone, key=lambda each: each[0] if each[0] != "absent" else 0.0)
            report.add(
                shape,
                name,
                served,
                best,
                over(served, best),
                over(served, median(figures[CLIENTS], "served, eager")),
                batch,
                sides.until_ready_s(name),
                sides.until_warm_s(name),
            )
        sides.explain(report)
        report.write()


def main() -> None:
    """Measure all shapes."""
    setup = Setup.parse()
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
    for shape, size in (_SMALL if setup.is_small else SHAPES).items():
        compare(report, setup, shape, size)


if __name__ == "__main__":
    main()
