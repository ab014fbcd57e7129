"""Cores: reservations that never overlap, and those who share what is left."""

from __future__ import annotations

import itertools
import logging
import os
import random
import subprocess
import sys
from collections.abc import Sequence

import pytest

from torchloom.cores import Cores, pin_process
from torchloom.device import Device


CPU = Device("cpu")


class _Pins:
    """Notes where processes are moved."""

    def __init__(self) -> None:
        self.places: dict[int, list[int]] = {}

    def __call__(self, pid: int, cores: Sequence[int]) -> None:
        self.places[pid] = list(cores)


def test_moves_those_who_share_out_of_the_way() -> None:
    """A reservation is kept free of workers that were there before, until it ends."""
    cores = Cores(range(4), pin=(pins := _Pins()))
    cores.settle("a", cores.take("a", "a@1", None, CPU), 11)
    assert pins.places == {}
    cores.settle("b", cores.take("b", "b@1", 3, CPU), 12)
    assert pins.places == {11: [3]}
    cores.settle("c", cores.take("c", "c@1", None, CPU), 13)
    assert pins.places == {11: [3], 13: [3]}
    cores.release("a")
    cores.take("d", "d@1", 1, CPU)
    assert pins.places[13] == [0, 1, 2, 3]
    cores.release("b")
    assert pins.places == {11: [3], 13: [0, 1, 2]}


def test_warns_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    """Who asks for more than there is, and the figures; such a worker is never moved."""
    cores = Cores(range(2), pin=(pins := _Pins()))
    with caplog.at_level(logging.WARNING):
        cores.settle("a", cores.take("a", "a@1", 3, CPU), 11)
    assert caplog.messages[0].startswith("Model 'a@1' asks for 3 threads, and 2 of 2 cores")
    cores.take("b", "b@1", 1, CPU)
    assert pins.places == {}


def test_never_gives_a_core_twice() -> None:
    """Whatever comes and goes, reservations do not overlap, and all cores come back."""
    dice = random.Random(7)
    cores = Cores(range(8), pin=lambda *_: None)
    alive: list[int] = []
    for worker in range(300):
        asked = dice.choice([None, 1, 2, 3, 9])
        cores.take(worker, "x@1", asked, CPU)
        alive.append(worker)
        while len(alive) > dice.randint(0, 6):
            cores.release(alive.pop(dice.randrange(len(alive))))
        taken = list(itertools.chain(*cores._reserved.values()))
        assert len(taken) == len(set(taken))
    for worker in alive:
        cores.release(worker)
    assert cores.take("last", "x@1", 8, CPU).is_reserved


def test_pins_every_thread_of_a_process_that_lives() -> None:
    """One that has ended is no fault."""
    first = min(os.sched_getaffinity(0))
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        pin_process(process.pid, [first])
        assert os.sched_getaffinity(process.pid) == {first}
        process.communicate(b"\n")
    pin_process(process.pid, [first])
