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
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.registration import Order
from torchloom_api.torchserve.request import Request
from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.workbench import Look, Workbench


HANDLER = Path("handler.py")

ASKED = cast("Request", SimpleNamespace(segments=("predictions", "echo")))


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


class _Scripted:
    """A bench whose files are as the script says, and the registration that loads them.

    `during`: what happens to the files while the load of a number is under way, which has no end;
    any other load ends at once.
    """

    def __init__(self, during: dict[int, Sequence[int]]) -> None:
        self.name, self.folder, self.handler = "echo", None, HANDLER
        self.size = 1
        self.error: Exception | None = None
        self.loaded: list[int] = []
        self.broken_off: list[int] = []
        self._during = during

    def look(self) -> Look:
        if self.error is not None:
            raise self.error
        return _look(self.size)

    def lay_out(self, _: Path) -> None:
        """There is nothing to lay out."""

    async def register(self, _: Order) -> None:
        size = self.size
        if size in self._during:
            for each in self._during[size]:
                self.size = each
                await asyncio.sleep(0)
            try:
                await asyncio.Event().wait()
            finally:
                self.broken_off.append(size)
        self.loaded.append(size)

    def session(self, folder: Path, told: list[str]) -> Session:
        """Make a session of them."""
        frontend = SimpleNamespace(registration=self, absent=AbsentModels())
        return Session(
            cast("Frontend", frontend), cast("Workbench", self), folder, tell=told.append
        )


async def test_loads_the_last_of_two_saves_within_a_load(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The load is broken off, what was saved first is not loaded, and the next request meets it."""
    monkeypatch.setattr(session_module, "_PAUSE_S", 0)
    monkeypatch.setattr(session_module, "_QUIET_S", 0)
    scripted = _Scripted(during={2: [3, 4]})
    session = scripted.session(tmp_path, [])
    await session.settle()
    scripted.size = 2
    await session.settle()

    assert (scripted.loaded, scripted.broken_off) == ([1, 4], [2])


async def test_goes_on_watching_what_cannot_be_looked_at(tmp_path: Path) -> None:
    """It says why, once, to the author and to all who ask, and serves when that is over."""
    scripted, told = _Scripted(during={}), list[str]()
    session = scripted.session(tmp_path, told)
    await session.settle()
    scripted.error = ArchiverError("too many files.")
    for _ in range(2):
        with pytest.raises(FrontendError, match=r"^too many files\. Mend it") as raised:
            await session.before(ASKED)
        assert raised.value.status == 503
    scripted.error = None
    await session.before(ASKED)
    scripted.error = PermissionError("not for you")
    with pytest.raises(FrontendError, match="not for you"):
        await session.before(ASKED)

    until = "Requests are answered with 503 until a save mends it."
    assert told == [f"too many files. {until}", f"not for you. {until}"]
    assert scripted.loaded == [1], "it is what it was"


async def test_does_not_begin_where_files_cannot_be_looked_at(tmp_path: Path) -> None:
    """Its author hears of it before anything is served."""
    scripted = _Scripted(during={})
    scripted.error = ArchiverError("too many files.")
    with pytest.raises(ArchiverError):
        await scripted.session(tmp_path, []).watch()


def test_names_what_changed() -> None:
    """Not all of many."""
    many = {Path(f"{name}.py"): (1, 1, 1) for name in "abcde"}

    assert _name_changes(_look(1), _look(2)) == "handler.py"
    assert _name_changes({}, many) == "a.py, b.py, c.py and 2 more"
