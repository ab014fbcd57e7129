"""How a server begins, and what ends it meanwhile."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Iterator

import pytest

from torchloom.errors import InvalidModel
from torchloom_api.lifetime import begin, loading


@pytest.fixture(autouse=True)
def _usual_collections() -> Iterator[None]:
    """Leave collections of garbage as they were."""
    usual = gc.get_threshold()
    yield
    gc.unfreeze()
    gc.set_threshold(*usual)


async def test_begins_once_all_is_loaded() -> None:
    """What is loaded in the meantime is waited for."""
    loaded: list[str] = []

    async def start() -> None:
        await asyncio.sleep(0)
        loaded.append("a model")

    async with loading(start()) as starting:
        assert await begin(starting, asyncio.Event())
    assert loaded == ["a model"]


async def test_does_not_begin_after_a_signal() -> None:
    """A signal gives up what is still being loaded."""
    stop = asyncio.Event()
    async with loading(asyncio.Event().wait()) as starting:
        stop.set()
        assert not await begin(starting, stop)
        assert starting.cancelled()


async def test_tells_what_does_not_load() -> None:
    """A file that does not serve ends the start with its error."""

    async def start() -> None:
        raise InvalidModel("no model")

    with pytest.raises(InvalidModel, match="no model"):
        async with loading(start()) as starting:
            await begin(starting, asyncio.Event())


async def test_gives_up_loading_where_the_start_fails() -> None:
    """Whatever else ends the start ends what is being loaded."""
    with pytest.raises(OSError, match="taken"):
        async with loading(asyncio.Event().wait()) as starting:
            raise OSError("taken")
    assert starting.cancelled()
