"""When files are loaded: not while they are being written."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from torchloom_api.torchserve.absent_models import AbsentModels
from torchloom_api.torchserve.dev import session as session_module
from torchloom_api.torchserve.dev.session import Session, _name_changes
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.registration import Order
from torchloom_models.archive.workbench import Look, Workbench


HANDLER = Path("handler.py")


def _look(size: int) -> Look:
    return {HANDLER: (size, size, 1)}


def _make(looks: Sequence[Look], monkeypatch: pytest.MonkeyPatch) -> tuple[Session, list[Look]]:
    """Make a session that sees these, one after the other; also give those it has not seen yet."""
    monkeypatch.setattr(session_module, "_QUIET_S", 0)
    left = list(looks)
    bench = SimpleNamespace(look=lambda: left.pop(0))
    session = Session(cast("Frontend", None), cast("Workbench", bench), Path(), tell=lambda _: None)
    session._look = _look(1)
    return session, left


async def test_waits_until_a_file_is_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that grows is loaded when it has been the same twice."""
    session, left = _make([_look(2), _look(3), _look(4), _look(4), _look(5)], monkeypatch)

    assert await session._look_steadily() == _look(4)
    assert left == [_look(5)]


async def test_looks_once_where_nothing_changes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Requests wait for no second look."""
    session, left = _make([_look(1), _look(2)], monkeypatch)

    assert await session._look_steadily() == _look(1)
    assert left == [_look(2)]


async def test_takes_back_what_is_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    """A file that is moved away and back has not changed."""
    session, _ = _make([{}, _look(1)], monkeypatch)

    assert await session._look_steadily() == _look(1)


class _Hanging:
    """A registration that comes to no end."""

    def __init__(self) -> None:
        self.orders: list[Order] = []
        self.is_cancelled = False

    async def register(self, order: Order) -> None:
        self.orders.append(order)
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            self.is_cancelled = True
            raise


async def test_says_why_files_cannot_be_looked_at_while_it_loads(tmp_path: Path) -> None:
    """The load is given up, and those who ask are told of it: nothing has changed."""

    def look() -> Look:
        raise PermissionError("handler.py: not for you")

    hanging, told, absent = _Hanging(), list[str](), AbsentModels()
    bench = SimpleNamespace(look=look, name="echo", folder=None, handler=HANDLER)
    bench.lay_out = lambda _: None
    frontend = SimpleNamespace(registration=hanging, absent=absent)
    session = Session(
        cast("Frontend", frontend), cast("Workbench", bench), tmp_path, tell=told.append
    )

    await session._load(_look(1))

    assert len(hanging.orders) == 1
    assert hanging.is_cancelled
    assert session._fault == "handler.py: not for you."
    assert [(order.url, absence.status) for order, absence in absent] == [("echo", 500)]
    assert told == [
        "handler.py: not for you. Requests are answered with 503 until a save mends it."
    ]


def test_names_what_changed() -> None:
    """Not all of many."""
    many = {Path(f"{name}.py"): (1, 1, 1) for name in "abcde"}

    assert _name_changes(_look(1), _look(2)) == "handler.py"
    assert _name_changes({}, many) == "a.py, b.py, c.py and 2 more"
