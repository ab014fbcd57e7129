"""Session: keeps what is served at what lies in the author's files. One worker at a time has it.

Whoever asks is let through once the code as it is now is loaded, or is told why it does not load.
Knows no route, and not how files are watched: it looks.
"""

from __future__ import annotations

import asyncio
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.archive_url import Found
from torchloom_api.torchserve.catalog import Served
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_error import FrontendError, unavailable
from torchloom_api.torchserve.limits import Wish
from torchloom_api.torchserve.registration import Order
from torchloom_api.torchserve.request import Request
from torchloom_models.archive.archiver_error import ArchiverError
from torchloom_models.archive.workbench import Look, Workbench


#: How often files are looked at where nobody asks; a look may take this share of the time.
_PAUSE_S: Final = 0.3
_SHARE: Final = 0.1

#: Files that change are left alone until they have been the same for so long: editors, and `cp`,
#: write in pieces.
_QUIET_S: Final = 0.1

#: A request that runs may take as long as its client waits.
_AS_LONG_AS_IT_TAKES_S: Final = 1e9

#: How long a worker may take to end before it is killed: one at a prompt does not hear of it.
_END_S: Final = 0.5

#: Paths that have nothing to do with the model.
_OPEN: Final = frozenset({"ping", "metrics", "api-description"})

_UNTIL_MENDED: Final = "Requests are answered with 503 until a save mends it."

#: Is told what goes on, a line each time.
Tell = Callable[[str], None]


class Session:
    """Loads a workbench's files when they change. `folder` is an empty one to lay them out in.

    `on_end` is called whenever a worker has ended.
    """

    def __init__(
        self,
        frontend: Frontend,
        bench: Workbench,
        folder: Path,
        *,
        tell: Tell,
        on_end: Callable[[], None] = lambda: None,
    ) -> None:
        self.is_loading = False
        self._frontend = frontend
        self._bench = bench
        self._folder = folder
        self._tell = tell
        self._on_end = on_end
        self._lock = asyncio.Lock()
        self._is_closed = False
        self._look: Look | None = None
        self._look_s = 0.0
        self._served: Served | None = None
        #: Why what lies there does not load, and why it cannot even be looked at.
        self._fault: str | None = None
        self._obstacle: str | None = None
        self._num_loads = 0

    async def watch(self) -> None:
        """Load what changes, until this is cancelled.

        Raises ArchiverError and OSError where the files cannot be looked at from the start.
        """
        while True:
            await self.settle()
            await asyncio.sleep(max(_PAUSE_S, self._look_s / _SHARE))

    async def before(self, request: Request) -> None:
        """Hold a request until the code as it lies there now is loaded.

        Raises FrontendError (503) that says where and why it does not load, and what `watch` does.
        """
        if not request.segments or request.segments[0] in _OPEN:
            return
        await self.settle()
        if self._is_closed:
            raise unavailable("The server ends.")
        fault = self._obstacle or self._fault
        if fault is not None:
            raise unavailable(f"{fault} Mend it, save, and ask again.")

    async def settle(self) -> None:
        """Look at the files, and load them until what is loaded is what lies there."""
        async with self._lock:
            while (look := await self._see()) != self._look and not self._is_closed:
                await self._load(look)

    async def close(self) -> None:
        """End the worker, whatever it does."""
        self._is_closed = True
        if self._served is not None:
            await self._end(self._served, grace_s=0.0)

    async def _see(self) -> Look:
        """Look at the files; where that cannot be done any more, tell why, and see no change."""
        try:
            look = await self._look_steadily()
        except (ArchiverError, OSError) as error:
            if self._look is None:
                raise
            said = _say(error)
            if said != self._obstacle:
                self._tell(f"{said} {_UNTIL_MENDED}")
            self._obstacle = said
            return self._look
        self._obstacle = None
        return look

    async def _look_steadily(self) -> Look:
        look = await self._look_once()
        while look != self._look:
            await asyncio.sleep(_QUIET_S if self._look is not None else 0)
            again = await self._look_once()
            if again == look:
                break
            look = again
        return look

    async def _look_once(self) -> Look:
        began = time.perf_counter()
        look = await asyncio.to_thread(self._bench.look)
        self._look_s = time.perf_counter() - began
        return look

    async def _load(self, look: Look) -> None:
        if self._look is not None:
            self._tell(f"{_name_changes(self._look, look)} changed: loading …")
        self._look = look
        self.is_loading = True
        try:
            if self._served is not None:
                await self._retire(self._served)
            await self._begin()
        finally:
            self.is_loading = False

    async def _retire(self, served: Served) -> None:
        """Let what runs end on the code that it began with: two workers would share a terminal."""
        status = self._frontend.catalog.status(served)
        if status is not None and any(replica.in_flight for replica in status.replicas):
            self._tell(
                "A request still runs on the code as it was. The new code is loaded when that has "
                "ended, or its client has left."
            )
        await self._end(served, grace_s=_AS_LONG_AS_IT_TAKES_S)

    async def _end(self, served: Served, *, grace_s: float) -> None:
        orchestrator = self._frontend.service.orchestrator
        await orchestrator.remove_model(served.name, served.number, grace_s=grace_s, end_s=_END_S)
        self._frontend.registration.forget(served)
        self._served = None
        self._on_end()

    async def _begin(self) -> None:
        name, began = self._bench.name, time.perf_counter()
        try:
            place = await asyncio.to_thread(self._lay_out)
            order = Order(
                url=str(self._bench.folder or self._bench.handler),
                name=name,
                found=Found(path=place),
                wish=Wish(initial_workers=1),
                is_at_startup=True,
                is_alone=True,
            )
            self._served = await self._register(order)
        except (ArchiverError, TorchLoomError, FrontendError, OSError) as error:
            self._fault = _say(error)
            self._frontend.absent.put(Order(url=name), 500)
            self._on_end()
            self._tell(f"{self._fault} {_UNTIL_MENDED}")
            return
        if self._served is None:
            self._on_end()
            return
        self._fault = None
        self._frontend.absent.drop(Order(url=name))
        self._tell(f"Loaded in {time.perf_counter() - began:.1f} s.")

    async def _register(self, order: Order) -> Served | None:
        """Register; None where files change meanwhile: it is given up then, for it may hang.

        Raises also what keeps files from being looked at.
        """
        loading = asyncio.ensure_future(self._frontend.registration.register(order))
        changing = asyncio.create_task(self._wait_change())
        try:
            await asyncio.wait({loading, changing}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            loading.cancel()
            changing.cancel()
            await asyncio.wait({loading, changing})
        if not loading.cancelled():
            return loading.result()
        error = None if changing.cancelled() else changing.exception()
        if error is not None:
            raise error
        return None

    async def _wait_change(self) -> None:
        while True:
            if await self._look_once() != self._look:
                return
            await asyncio.sleep(max(_PAUSE_S, self._look_s / _SHARE))

    def _lay_out(self) -> Path:
        """Lay the files out in a folder that is new; those of the last load are of no use."""
        shutil.rmtree(self._folder / str(self._num_loads), ignore_errors=True)
        self._num_loads += 1
        place = self._folder / str(self._num_loads)
        place.mkdir(parents=True)
        self._bench.lay_out(place)
        return place


def _name_changes(before: Look, after: Look) -> str:
    """Name the files that differ, but not all of many."""
    changed = sorted(path.name for path in {*before, *after} if before.get(path) != after.get(path))
    few = changed[:3]
    return ", ".join(few) + (f" and {len(changed) - len(few)} more" if changed[3:] else "")


def _say(error: Exception) -> str:
    """Give the reason in its own words: TorchServe's say only that a worker has not started."""
    cause = error.__cause__ if isinstance(error, FrontendError) else error
    told = cause if isinstance(cause, TorchLoomError) else error
    said = told.message if isinstance(told, TorchLoomError | FrontendError) else str(told)
    return said if said.endswith((".", "!", "?")) else f"{said}."
