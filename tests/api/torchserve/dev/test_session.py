"""When files are loaded: not while they are being written."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import cast

import pytest

from torchloom_api.torchserve.dev import session as session_module
from torchloom_api.torchserve.dev.session import Session, _name_changes
from torchloom_api.torchserve.frontend import Frontend
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


def test_names_what_changed() -> None:
    """Not all of many."""
    many = {Path(f"{name}.py"): (1, 1, 1) for name in "abcde"}

    assert _name_changes(_look(1), _look(2)) == "handler.py"
    assert _name_changes({}, many) == "a.py, b.py, c.py and 2 more"
