"""Lifetime: how a server begins, by loading all that it is to serve, and the signals that end it.

SIGTERM or SIGINT drains: what was accepted is finished within the grace, new work is refused. A
second signal ends the process at once. Knows no route and no listener.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Coroutine, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Final

from torchloom import garbage


_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT)


@contextmanager
def signalled() -> Iterator[asyncio.Event]:
    """Give an event that the first signal sets; the second ends the process."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()

    def on_signal(number: signal.Signals) -> None:
        if stop.is_set():
            # Workers are told by the kernel when this process is gone.
            os._exit(128 + number)
        stop.set()

    for number in _SIGNALS:
        loop.add_signal_handler(number, on_signal, number)
    try:
        yield stop
    finally:
        for number in _SIGNALS:
            loop.remove_signal_handler(number)


@asynccontextmanager
async def loading(start: Coroutine[object, object, object]) -> AsyncIterator[asyncio.Task[object]]:
    """Begin to load everything; whatever is still being loaded at the end is given up."""
    task = asyncio.create_task(start)
    try:
        yield task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


async def begin(starting: asyncio.Task[object], stop: asyncio.Event) -> bool:
    """Wait until everything serves; False where a signal came first, and nothing is loaded then.

    Raises what keeps a file from serving.
    """
    stopping = asyncio.create_task(stop.wait())
    await asyncio.wait({starting, stopping}, return_when=asyncio.FIRST_COMPLETED)
    stopping.cancel()
    if not starting.done():
        starting.cancel()
        await asyncio.wait({starting})
        return False
    starting.result()
    garbage.set_aside()
    garbage.look_less_often()
    return True
