"""TorchServe 0.12 beside TorchLoom, with the same archives: `python -m benchmarks.torchserve`.

`--torchserve PATH/bin/torchserve` names TorchServe, installed in an environment of its own; left
out, its columns say "absent". Both servers get the same command line, `config.properties`, archives
and requests, and one worker a model unless a row says otherwise. `--parts` picks some.
"""

from __future__ import annotations

import argparse
import asyncio
import importlib.util
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.outage import Outage, watch
from benchmarks.report import RESULTS, Report, interleave, paired_ratio
from benchmarks.streamed import ask
from benchmarks.torchserve_archives import batching, write_mar, write_war
from benchmarks.torchserve_side import TORCHLOOM, Side
from benchmarks.wrk import measure, tool


CLIENTS = (1, 16, 64)
OURS, THEIRS = "TorchLoom", "TorchServe"

_BATCH_WAIT_MS = 5

Commands = Mapping[str, Sequence[str]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Served:
    """A model under load: its handler, what is sent to it, and how many at once."""

    handler: str
    body: object
    batch: int = 1


MODELS = {
    "noop": Served(handler="noop", body=1),
    "mlp": Served(handler="mlp", body=[0.1] * 64),
    "mlp8": Served(handler="mlp", body=[0.1] * 64, batch=8),
    "encoder": Served(handler="encoder", body=list(range(64))),
    "encoder8": Served(handler="encoder", body=list(range(64)), batch=8),
    "encoder16": Served(handler="encoder", body=list(range(64)), batch=16),
}


@dataclass(kw_only=True)
class Bench:
    """What every part works with."""

    commands: Commands
    repeats: int
    seconds: float

    @contextmanager
    def sides(
        self, models: Sequence[str], path: str, body: object = 1
    ) -> Iterator[dict[str, Side]]:
        """Serve archives of the store by each server that is there, once all of them answer."""
        with tempfile.TemporaryDirectory() as text, ExitStack() as stack:
            store = write_store(Path(text))
            about = {"store": store, "models": models, "path": path, "body": body}
            yield {
                name: stack.enter_context(Side(command, store.parent / name, **about))
                for name, command in self.commands.items()
            }

    def compare(
        self, report: Report, row: str, measures: Mapping[str, Callable[[], Mapping[str, float]]]
    ) -> None:
        """Measure the sides in turn; one row for each figure. Fewer is better, but of `…/s`."""
        seen: dict[str, list[Mapping[str, float]]] = {name: [] for name in measures}

        def once(name: str) -> float:
            seen[name].append(measures[name]())
            return 0.0

        interleave({name: partial(once, name) for name in measures}, repeats=self.repeats)
        for figure in next(iter(seen.values()))[0]:
            series = {name: [each[figure] for each in found] for name, found in seen.items()}
            both = series.get(OURS), series.get(THEIRS)
            is_ratio = None not in both and all(both[1])  # type: ignore[arg-type]  # just looked
            report.add(
                f"{row}: {figure}",
                *(
                    statistics.median(series[name]) if name in series else "absent"
                    for name in (OURS, THEIRS)
                ),
                paired_ratio(*both) if is_ratio else "",  # type: ignore[arg-type]  # the same
            )


def write_store(folder: Path) -> Path:
    """Write every archive that a part may ask for."""
    store = folder / "store"
    store.mkdir()
    for name, model in MODELS.items():
        config = batching(model.batch, _BATCH_WAIT_MS) if model.batch > 1 else None
        write_mar(store, model.handler, name=name, config=config)
    write_mar(store, "streaming")
    write_mar(store, "noop", name="spare", config=batching(1, _BATCH_WAIT_MS, workers=2))
    write_war(store, "diamond")
    return store


def work_off(url: str, body: object) -> None:
    """Wait until a server is done with what the clients of a load left behind in its queue.

    TorchServe works for them all the same, which would slow down whoever is measured next.
    """
    deadline = time.monotonic() + 60
    while httpx.post(url, json=body, timeout=60).status_code != httpx.codes.OK:
        if time.monotonic() > deadline:
            raise RuntimeError(f"{url} does not answer after a load.")
        time.sleep(0.1)


def load(bench: Bench, report: Report, name: str) -> None:
    """Load one model at each number of clients."""
    model = MODELS[name]

    def one(side: Side, clients: int, seconds: float = bench.seconds) -> dict[str, float]:
        url = f"{side.url}/predictions/{name}"
        found = measure(url, model.body, clients=clients, seconds=seconds)
        work_off(url, model.body)
        return {
            "requests/s": found.per_s,
            "p50 ms": found.p50_s * 1e3,
            "p99 ms": found.p99_s * 1e3,
            "errors": found.errors,
        }

    with bench.sides([f"{name}.mar"], f"/predictions/{name}", model.body) as sides:
        for clients in CLIENTS:
            for side in sides.values():
                one(side, clients, 3.0)  # the JVM compiles
            measures = {key: partial(one, side, clients) for key, side in sides.items()}
            bench.compare(report, f"{name}, {clients} clients", measures)


def memory(bench: Bench, report: Report) -> None:
    """Tell the memory of all processes with one no-op worker, before and after some load."""
    with bench.sides(["noop.mar"], "/predictions/noop") as sides:
        for row in ("before any load", "after 2 s of 16 clients"):
            found = {name: side.memory_mib() for name, side in sides.items()}
            both = len(found) == 2
            report.add(
                f"memory of all processes, one no-op worker, {row}: PSS MiB",
                *(found.get(name, "absent") for name in (OURS, THEIRS)),
                found[OURS] / found[THEIRS] if both else "",
            )
            for side in sides.values():
                measure(f"{side.url}/predictions/noop", 1, clients=16, warmup_s=0)


def streaming(bench: Bench, report: Report) -> None:
    """Stream 200 chunks to one client, twenty answers a repeat."""

    def one(side: Side) -> dict[str, float]:
        answers = [ask(f"{side.url}/predictions/streaming", b"1") for _ in range(20)]
        expected = b"".join(b"chunk %03d\n" % number for number in range(200))
        if any(answer.body != expected for answer in answers):
            raise RuntimeError("A streamed answer is not what the handler sent.")
        rates = [200 / answer.total_s for answer in answers]
        return {
            "first chunk ms": statistics.median(answer.first_s for answer in answers) * 1e3,
            "handler's chunks/s": statistics.median(rates),
            "chunks on the wire": statistics.median(answer.chunks for answer in answers),
        }

    with bench.sides(["streaming.mar"], "/predictions/streaming") as sides:
        for side in sides.values():
            one(side)  # warm-up
        bench.compare(
            report,
            "streaming of 200 chunks, 1 client",
            {name: partial(one, side) for name, side in sides.items()},
        )


def workflow(bench: Bench, report: Report) -> None:
    """Ask a workflow of four nodes (a start, two no-op models, a join) at 1 and 16 clients."""

    def one(side: Side, clients: int, seconds: float = bench.seconds) -> dict[str, float]:
        url = f"{side.url}/wfpredict/diamond"
        found = measure(url, 1, clients=clients, seconds=seconds)
        work_off(url, 1)
        return {
            "requests/s": found.per_s,
            "p50 ms": found.p50_s * 1e3,
            "p99 ms": found.p99_s * 1e3,
            "errors": found.errors,
        }

    with bench.sides([], "/ping") as sides:
        for name, side in dict(sides).items():
            url = f"{side.urls['management']}/workflows"
            answer = httpx.post(url, params={"url": "diamond.war"}, timeout=120)
            asked = httpx.post(f"{side.url}/wfpredict/diamond", json=1, timeout=60)
            if answer.status_code != httpx.codes.OK or asked.text != "left=ok,right=ok":
                report.notes.append(f"{name} serves no workflow: {answer.text} {asked.text}")
                del sides[name]
        for clients in (1, 16):
            for side in sides.values():
                one(side, clients, 3.0)  # the JVM compiles
            measures = {name: partial(one, side, clients) for name, side in sides.items()}
            bench.compare(report, f"workflow of 4 nodes, {clients} clients", measures)
        found = {name: side.memory_mib() for name, side in sides.items()}
        both = len(found) == 2
        report.add(
            "memory of all processes with the workflow: PSS MiB",
            *(found.get(name, "absent") for name in (OURS, THEIRS)),
            found[OURS] / found[THEIRS] if both else "",
        )


def startup(bench: Bench, report: Report) -> None:
    """Start each server until its no-op, or its encoder, answers."""
    with tempfile.TemporaryDirectory() as text:
        store = write_store(Path(text))
        for model in ("noop", "encoder"):

            def one(name: str, model: str = model) -> dict[str, float]:
                folder = Path(tempfile.mkdtemp(dir=text))
                side = Side(
                    bench.commands[name],
                    folder,
                    store=store,
                    models=[f"{model}.mar"],
                    path=f"/predictions/{model}",
                    body=MODELS[model].body,
                )
                with side:
                    return {"s": side.ready_s}

            bench.compare(
                report,
                f"start to the first answer, {model}",
                {name: partial(one, name) for name in bench.commands},
            )


def recovery(bench: Bench, report: Report) -> None:
    """Kill the only worker, and one of two, under eight clients."""

    def one(side: Side, model: str) -> dict[str, float]:
        found = asyncio.run(_outage(side, model))
        return {"failed requests": found.failed, "longest gap s": found.longest_gap_s}

    with bench.sides(["noop.mar", "spare.mar"], "/predictions/spare") as sides:
        for model, row in (("noop", "the only worker killed"), ("spare", "one of two killed")):
            measures = {name: partial(one, side, model) for name, side in sides.items()}
            bench.compare(report, f"{row}, 8 clients", measures)


async def _outage(side: Side, model: str) -> Outage:
    side.wait_for_workers(model, 2 if model == "spare" else 1)
    url, worker = f"{side.url}/predictions/{model}", side.find_worker(model)
    return await watch(url, worker.kill, clients=8, before_s=1, after_s=7)


PARTS: Mapping[str, Callable[[Bench, Report], None]] = {
    **{name: partial(load, name=name) for name in MODELS},
    "memory": memory,
    "streaming": streaming,
    "workflow": workflow,
    "startup": startup,
    "recovery": recovery,
}


def find_commands(torchserve: str | None) -> dict[str, Sequence[str]]:
    """Give the commands of the servers that are there, TorchLoom's first."""
    commands: dict[str, Sequence[str]] = {}
    if importlib.util.find_spec("torchloom_api.torchserve.server") is not None:
        commands[OURS] = TORCHLOOM
    if torchserve is not None:
        commands[THEIRS] = (torchserve,)
    return commands


def describe(torchserve: str | None) -> dict[str, object]:
    """Tell TorchServe's version and the load's tool."""
    if torchserve is None:
        return {"torchserve": "absent", "load": tool()}
    result = subprocess.run([torchserve, "--version"], capture_output=True, text=True, check=True)
    return {"torchserve": result.stdout.split()[-1], "load": tool()}


def main() -> None:
    """Run the parts that are named, or all; each writes a report of its own."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--torchserve", help="PATH/bin/torchserve")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2.0, help="of each load")
    options = parser.parse_args()
    bench = Bench(
        commands=find_commands(options.torchserve), repeats=options.repeats, seconds=options.seconds
    )
    for part in options.parts:
        report = Report(
            name=part,
            title=f"{part}: TorchLoom and TorchServe, the same archives, one machine",
            columns=("", OURS, THEIRS, "TorchLoom over TorchServe"),
            facts=describe(options.torchserve),
            folder=RESULTS / "torchserve",
            command=f"python -m benchmarks.torchserve --torchserve PATH --parts {part}"
            f" --repeats {options.repeats} --seconds {options.seconds:g}",
        )
        if bench.commands:
            PARTS[part](bench, report)
        report.finish()


if __name__ == "__main__":
    main()
