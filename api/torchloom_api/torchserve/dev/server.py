"""Serves one handler for its author, until a signal: TorchServe's ports over a Session.

Runs on asyncio's own event loop: debuggers of Python follow the processes that it starts, and not
those of others.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import tempfile
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Final

from torchloom.executor import LocalExecutor
from torchloom_api.lifetime import signalled
from torchloom_api.torchserve.dev.reader import AuthorReader
from torchloom_api.torchserve.dev.session import Session, Tell
from torchloom_api.torchserve.dev.terminal import Terminal
from torchloom_api.torchserve.frontend import Answered
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.listen import Port
from torchloom_api.torchserve.server import open_frontend
from torchloom_models.archive.workbench import Workbench


#: Is told where each port answers.
OnUrls = Callable[[Mapping[Port, str]], None]

#: How long requests may take to end when the server is told to: none is in a hurry but its author.
_GRACE_S: Final = 1.0

#: Paths that are asked by programs, again and again.
_DULL: Final = ("/ping", "/metrics")

#: Who else logs what a Session tells, in words for operators.
_HUSHED: Final = ("torchloom_api.registrar", "torchloom_api.torchserve.registration")


def dev_settings(*, port: int, management_port: int | None = None) -> FrontendSettings:
    """Give what TorchServe's API works with here: the loopback address, one port, no tokens."""
    inference = f"http://127.0.0.1:{port}"
    management = inference if management_port is None else f"http://127.0.0.1:{management_port}"
    return FrontendSettings(
        inference_address=inference,
        management_address=management,
        metrics_address=management,
        disable_token_authorization=True,
        disable_system_metrics=True,
        metrics_mode="prometheus",
        grace_s=_GRACE_S,
    )


def serve_dev(bench: Workbench, settings: FrontendSettings, *, tell: Tell, on_urls: OnUrls) -> None:
    """Serve until a signal. Raises InvalidSettings where a port is taken, and ArchiverError."""
    terminal = Terminal()
    with tempfile.TemporaryDirectory(prefix="torchloom-dev-") as name:
        folder = Path(name).resolve()
        settings = replace(settings, store=str(folder / "store"))
        try:
            asyncio.run(_serve(bench, settings, folder, terminal, tell, on_urls))
        finally:
            terminal.restore()


async def _serve(
    bench: Workbench,
    settings: FrontendSettings,
    folder: Path,
    terminal: Terminal,
    tell: Tell,
    on_urls: OnUrls,
) -> None:
    authored = bench.authored()
    with signalled() as stop:
        async with open_frontend(
            settings,
            make_reader=lambda native: AuthorReader(native, authored),
            executor=LocalExecutor(is_at_terminal=True),
            has_grpc=False,
        ) as (frontend, urls):
            session = Session(frontend, bench, folder, tell=tell, on_end=terminal.restore)
            _hush(session)
            frontend.before = session.before
            frontend.on_answered.append(lambda answered: _tell_answer(tell, answered))
            frontend.service.is_started = True
            on_urls(urls)
            async with _watching(session) as watching:
                stopping = asyncio.create_task(stop.wait())
                await asyncio.wait({watching, stopping}, return_when=asyncio.FIRST_COMPLETED)
                stopping.cancel()
                if watching.done():
                    watching.result()  # it raises: it has no end of its own
                tell("\nThe server ends.")  # on a line of its own, also at a prompt
                await frontend.service.orchestrator.drain(settings.grace_s)


@asynccontextmanager
async def _watching(session: Session) -> AsyncIterator[asyncio.Task[None]]:
    task = asyncio.create_task(session.watch())
    try:
        yield task
    finally:
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await task
        await session.close()


def _hush(session: Session) -> None:
    """Leave out of the log what the session tells anyway: of a worker that ends as it loads."""
    for name in _HUSHED:
        logging.getLogger(name).disabled = True
    logging.getLogger("torchloom.replica").addFilter(lambda _: not session.is_loading)


def _tell_answer(tell: Tell, answered: Answered) -> None:
    if answered.uri.startswith(_DULL):
        return
    milliseconds = answered.seconds * 1000
    tell(f"{answered.method} {answered.uri} {answered.status} ({milliseconds:.0f} ms)")
