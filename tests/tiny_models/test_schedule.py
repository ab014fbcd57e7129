"""The clock of a training stage."""

from __future__ import annotations

import io
import math
from itertools import pairwise

import pytest
from rich.console import Console

from examples.tiny_models.schedule import Clock, cosine


def _console() -> tuple[Console, io.StringIO]:
    text = io.StringIO()
    return Console(file=text, width=100), text


def test_ends_after_its_steps() -> None:
    """Without minutes, a stage has as many steps as said, and is done then."""
    console, _ = _console()
    now = [0.0]
    with Clock("stage", num_steps=3, console=console, time=lambda: now[0]) as clock:
        done = []
        while clock.tick():
            now[0] += 100
            done.append(clock.done)

    assert done == pytest.approx([1 / 3, 2 / 3, 1])


def test_ends_by_the_minutes() -> None:
    """With minutes, only time counts."""
    console, _ = _console()
    now = [50.0]
    with Clock("stage", num_steps=3, minutes=2, console=console, time=lambda: now[0]) as clock:
        while clock.tick():
            now[0] += 12

    assert clock.step == 10
    assert clock.done == 1
    assert clock.spent_s == 120


def test_smooths_the_loss_and_tells_it_now_and_then() -> None:
    """Where no bar can be drawn, a line comes each half minute."""
    console, text = _console()
    now = [0.0]
    with Clock("stage", num_steps=100, console=console, time=lambda: now[0]) as clock:
        for loss in (1.0, 2.0, 2.0):
            clock.tick()
            now[0] += 20
            clock.tell(loss)

    assert clock.loss == pytest.approx(0.98 * (0.98 + 0.04) + 0.04)
    assert "stage: 0.7 min: step 2, loss 1.0200" in text.getvalue()
    assert "step 1," not in text.getvalue()


def test_lets_the_rate_rise_and_fall() -> None:
    """The rate rises for a fiftieth of the way, then only falls, and never to nothing."""
    rates = [cosine(step / 100) for step in range(2, 101)]

    assert 0 < cosine(0.0) < cosine(0.01) < rates[0] == 1
    assert all(later < earlier for earlier, later in pairwise(rates))
    assert math.isclose(rates[-1], 0.02)
