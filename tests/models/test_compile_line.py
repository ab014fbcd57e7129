"""Layouts that wait to be compiled."""

from __future__ import annotations

import threading
from collections.abc import Hashable

import pytest
import torch

from torchloom_models import compile_line
from torchloom_models.compile_line import CompileLine
from torchloom_models.demand import Likes


pytestmark = pytest.mark.slow

ONE = (torch.ones(1),)


class Compiles:
    """Notes what it is given; waits until it may go on."""

    def __init__(self) -> None:
        self.done: list[Hashable] = []
        self.has_begun = threading.Event()
        self.may_go_on = threading.Event()

    def __call__(self, layout: Hashable, likes: Likes) -> None:
        """Compile one."""
        self.has_begun.set()
        self.may_go_on.wait()
        assert [like.shape for like in likes] == [(1,)]
        self.done.append(layout)


def make(compiles: Compiles, *, max_layouts: int = 10) -> CompileLine:
    """Make a line in which larger layouts go first."""
    return CompileLine(
        "line", compile_one=compiles, rank=lambda size: int(str(size)), max_layouts=max_layouts
    )


def test_compiles_each_layout_once_and_one_at_a_time() -> None:
    """What is taken is not taken again, be it done or not."""
    compiles = Compiles()
    line = make(compiles)
    for size in (1, 3, 2, 3, 1):
        line.add(size, ONE)
        compiles.has_begun.wait()
    assert (line.pending, line.has_taken(2), line.has_taken(4)) == (3, True, False)
    assert len(line.unfinished()) == 3

    compiles.may_go_on.set()
    assert line.wait()
    line.add(3, ONE)
    assert line.unfinished() == []
    line.close()

    assert compiles.done == [1, 3, 2]


def test_ends_with_the_last_layout_that_it_may_compile() -> None:
    """What waits when the last one begins is dropped, so that nobody waits for it."""
    compiles = Compiles()
    line = make(compiles, max_layouts=2)
    line.add(1, ONE)
    compiles.has_begun.wait()
    for size in (2, 3, 4):
        line.add(size, ONE)
    compiles.may_go_on.set()

    assert line.wait()
    line.add(5, ONE)

    assert (line.pending, line.is_used_up) == (0, True)
    assert compiles.done == [1, 4]
    line.close()


def test_takes_a_bounded_number_in(monkeypatch: pytest.MonkeyPatch) -> None:
    """One that there is no room for is not taken: it may come again."""
    monkeypatch.setattr(compile_line, "_MAX_WAITING", 1)
    compiles = Compiles()
    line = make(compiles)
    line.add(1, ONE)
    compiles.has_begun.wait()
    line.add(2, ONE)
    line.add(3, ONE)
    assert [line.has_taken(size) for size in (1, 2, 3)] == [True, True, False]

    compiles.may_go_on.set()
    line.wait()
    line.add(3, ONE)
    line.wait()
    line.close()

    assert compiles.done == [1, 2, 3]


def test_drops_what_waits_when_it_is_closed() -> None:
    """Closing waits for the one that compiles, and for no other."""
    compiles = Compiles()
    line = make(compiles)
    line.add(1, ONE)
    compiles.has_begun.wait()
    line.add(2, ONE)
    threading.Timer(0.05, compiles.may_go_on.set).start()

    line.close()
    line.add(3, ONE)

    assert compiles.done == [1]
    assert line.pending == 0
