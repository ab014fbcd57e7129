"""Sides: what is measured in turn, started together; one that fails is left out, with its reason.

Knows engines in processes of their own and servers, and no model.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import httpx

from benchmarks.peers.line_process import LineProcess
from benchmarks.report import Report, interleave
from benchmarks.server import Server
from torchloom.errors import TorchLoomError
from torchloom_models.spec import parse_model
from torchloom_workflows.loader import load_document


#: Name of a side → the `compile:` of its model file.
COMPILE = {
    "eager": "eager",
    "inductor": "{backend: inductor, mode: default}",
    "reduce-overhead": "{backend: inductor, mode: reduce-overhead}",
    "max-autotune": "{backend: inductor, mode: max-autotune}",
}

#: How a side can fail without taking the others along.
_FAILURES = (
    TorchLoomError,
    RuntimeError,
    OSError,
    ValueError,
    httpx.HTTPError,
    subprocess.SubprocessError,
)

_ENGINE = "benchmarks.peers.engine"

#: How long compiling beside the answers may go on before measuring.
_SETTLE_S = 120.0

#: How long a worker may take to tell the server that it compiles.
_TELLING_S = 1.0

#: Rounds of warm-up at most: each may ask for code that the one before did not.
_ROUNDS = 4

Peer = LineProcess | Server


class Sides:
    """Processes by name, and the reasons of those that there are not."""

    def __init__(self, stack: ExitStack) -> None:
        self._stack = stack
        self.open: dict[str, Peer] = {}
        self.absent: dict[str, str] = {}
        self.warm_s: dict[str, float] = {}

    def start(self, makers: Mapping[str, Callable[[], Peer]]) -> None:
        """Start all of them at once."""
        with ThreadPoolExecutor(max(len(makers), 1)) as pool:
            started = {name: pool.submit(_start, make) for name, make in makers.items()}
        for name, future in started.items():
            try:
                self.open[name] = future.result()
                self._stack.push(self.open[name])
            except _FAILURES as error:
                self.leave_out(name, error)

    def leave_out(self, name: str, error: Exception) -> None:
        """Go on without a side."""
        lines = str(error).strip().splitlines() or [""]
        self.absent[name] = f"{type(error).__name__}: {lines[0][:300]}"
        print(f"{name} is absent: {self.absent[name]}", file=sys.stderr, flush=True)

    def warm(self, calls: Mapping[str, Sequence[Callable[[], object]]]) -> None:
        """Make each side's calls, all sides at once, until nothing compiles any more.

        `warm_s` has the seconds that it took each of them.
        """
        with ThreadPoolExecutor(max(len(calls), 1)) as pool:
            futures = {
                name: pool.submit(_warm, self.open[name], of)
                for name, of in calls.items()
                if name in self.open
            }
        for name, future in futures.items():
            try:
                self.warm_s[name] = future.result()
            except _FAILURES as error:
                self.leave_out(name, error)

    def measure(
        self, calls: Mapping[str, Callable[[], float]], *, repeats: int
    ) -> dict[str, list[float]]:
        """Measure those that there are, in turn; one that fails gives no figures from then on."""
        guarded = {
            name: partial(self._try, name, call)
            for name, call in calls.items()
            if name not in self.absent
        }
        figures = interleave(guarded, repeats=repeats)
        return {name: of for name, of in figures.items() if name not in self.absent}

    def _try(self, name: str, call: Callable[[], float]) -> float:
        if name in self.absent:
            return float("nan")
        try:
            return call()
        except _FAILURES as error:
            self.leave_out(name, error)
            return float("nan")

    def until_ready_s(self, name: str) -> float | str:
        """Give the seconds from the start of a process until it was ready."""
        return self.open[name].ready_s if name in self.open else "absent"

    def until_warm_s(self, name: str) -> float | str:
        """Give those until nothing compiled any more, the first answers among them."""
        if name not in self.warm_s:
            return "absent"
        return self.open[name].ready_s + self.warm_s[name]

    def explain(self, report: Report) -> None:
        """Say in the report why sides are absent."""
        for name, reason in self.absent.items():
            note = f"{name} is absent: {reason}"
            if note not in report.notes:
                report.notes.append(note)


def engine(text: str, folder: Path, *, device: str, functions: Sequence[str] = ()) -> LineProcess:
    """Make the process of the engine of a model file, whose code is kept in `folder`.

    Raises InvalidModel.
    """
    folder.mkdir(parents=True, exist_ok=True)
    deployment = parse_model(load_document(text, "model.yaml"), base=folder)
    extra = {"artefacts": str(folder / "artefacts"), "functions": list(functions)}
    config = json.dumps({**deployment.config, **extra})
    return LineProcess(_ENGINE, deployment.factory, config, device)


def server(text: str, folder: Path) -> Server:
    """Make the server of a model file, whose store is in `folder`. Raises InvalidModel."""
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "model.yaml"
    file.write_text(text, "utf-8")
    parse_model(load_document(text, str(file)), base=folder)  # says what is wrong
    return Server(file, store=folder / "store")


def median(figures: Mapping[str, Sequence[float]], name: str) -> float | str:
    """Give the median of a side, or that it is absent."""
    return statistics.median(figures[name]) if name in figures else "absent"


def over(ours: object, theirs: object) -> float | str:
    """Give the ratio of two medians, or that there is none."""
    if isinstance(ours, float) and isinstance(theirs, float) and theirs:
        return ours / theirs
    return "absent"


def _start(make: Callable[[], Peer]) -> Peer:
    return make().__enter__()


def _warm(peer: Peer, calls: Sequence[Callable[[], object]]) -> float:
    began = time.perf_counter()
    for _ in range(_ROUNDS):
        for call in calls:
            call()
        if not _settle(peer):
            break
    return time.perf_counter() - began


def _settle(peer: Peer) -> bool:
    """Wait until nothing compiles; say whether anything did."""
    if isinstance(peer, Server):
        return _settle_server(peer.url)
    return peer.module == _ENGINE and bool(peer.ask(settle_s=_SETTLE_S)["has_waited"])


def _settle_server(url: str) -> bool:
    began = time.perf_counter()
    has_waited = False
    while time.perf_counter() - began < _SETTLE_S:
        models = httpx.get(f"{url}/api/models", timeout=60).raise_for_status().json()["items"]
        codes = [code for model in models for each in model["replicas"] for code in each["code"]]
        is_pending = any(code["pending"] for code in codes)
        has_waited |= is_pending
        if not is_pending and time.perf_counter() - began > _TELLING_S:
            break
        time.sleep(0.2)
    return has_waited
