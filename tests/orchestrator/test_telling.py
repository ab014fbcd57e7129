"""Telling: settings on their way to a worker, and its answers."""

from __future__ import annotations

from collections.abc import Iterable

import pytest
from loom_fakes.scripted import ScriptedLink, settle

from torchloom.errors import InvalidInput, WorkerDied
from torchloom.telling import Telling
from torchloom.wire import AnyFrame, Applied


@pytest.fixture
def standing() -> dict[str, object]:
    """Give the settings that each new worker is told."""
    return {"speed": 3, "colour": None}


def link_to(telling: Telling) -> ScriptedLink:
    """Make a link whose answers go to the telling."""

    def hear(frames: Iterable[AnyFrame]) -> None:
        for frame in frames:
            assert isinstance(frame, Applied)
            telling.hear(frame)

    return ScriptedLink(hear, lambda _: None, obeys=True)


async def test_tells_a_new_worker_all_that_stands(standing: dict[str, object]) -> None:
    """In the order in which it was first given."""
    telling = Telling("echo@1", standing)
    link = link_to(telling)

    telling.begin(link)

    assert link.settings == [("speed", 3), ("colour", None)]


async def test_notes_what_a_new_worker_does_not_take(standing: dict[str, object]) -> None:
    """It serves without; the next worker starts with a clean sheet."""
    telling = Telling("echo@1", standing)
    link = link_to(telling)
    telling.begin(link)

    link.take(InvalidInput("Too fast."))
    link.take()
    await settle()

    assert telling.notes == ("Too fast.",)
    telling.begin(link_to(telling))
    assert telling.notes == ()


async def test_gives_answers_to_whoever_asked() -> None:
    """What was taken, and what was refused, with its own error."""
    telling = Telling("echo@1", {})
    link = link_to(telling)
    telling.begin(link)
    good, bad = telling.tell("speed", 1), telling.tell("speed", 99)

    link.take()
    link.take(InvalidInput("Too fast."))

    assert await good is None
    with pytest.raises(InvalidInput, match="Too fast"):
        await bad


async def test_passes_over_whoever_has_left() -> None:
    """An answer to nobody is no error, nor is the worker's end."""
    telling = Telling("echo@1", {})
    link = link_to(telling)
    telling.begin(link)
    first, second = telling.tell("speed", 1), telling.tell("speed", 2)
    first.cancel()
    second.cancel()

    link.take()
    telling.end()

    assert first.cancelled()
    assert second.cancelled()


async def test_fails_what_a_dead_worker_owes(standing: dict[str, object]) -> None:
    """Nobody waits for ever, before its end and after it; what it would not take is not noted."""
    telling = Telling("echo@1", standing)
    telling.begin(link_to(telling))
    owed = telling.tell("speed", 1)

    telling.end()
    late = telling.tell("speed", 2)

    for reply in (owed, late):
        with pytest.raises(WorkerDied, match="echo@1"):
            await reply
    await settle()
    assert telling.notes == ()
