"""Server: listeners, and the order in which things start and end. Knows no route."""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager, nullcontext
from pathlib import Path
from typing import Final

import uvicorn
import uvloop
from litestar.types import ASGIApp

from torchloom.pool import OnProgress
from torchloom_api.app import create_app
from torchloom_api.edge import Edge
from torchloom_api.key_ring import KeyRing
from torchloom_api.lifetime import begin, loading, signalled
from torchloom_api.listening_socket import BACKLOG, bind
from torchloom_api.protocol import guard
from torchloom_api.service import Service, open_service
from torchloom_api.settings import Address, Settings


_log = logging.getLogger(__name__)

#: Seconds that an idle connection is kept open.
_KEEP_ALIVE_S: Final = 75

#: Is told the URL of each scope once its listener is bound, and again (ready) once all serves.
OnUrls = Callable[[Mapping[str, str]], None]


class Listener(uvicorn.Server):
    """One listener of several: the process's signals belong to none of them."""

    def capture_signals(self) -> nullcontext[None]:  # type: ignore[override]  # it captures nothing
        """Leave signals alone."""
        return nullcontext()


def run_server(
    settings: Settings,
    files: Sequence[Path] = (),
    *,
    keys: KeyRing | None = None,
    on_progress: OnProgress | None = None,
    on_bound: OnUrls | None = None,
    on_ready: OnUrls | None = None,
) -> None:
    """Serve until a signal. Raises what keeps the server from starting, with the model's name."""
    serving = serve(
        settings, files, keys=keys, on_progress=on_progress, on_bound=on_bound, on_ready=on_ready
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def serve(
    settings: Settings,
    files: Sequence[Path] = (),
    *,
    keys: KeyRing | None = None,
    on_progress: OnProgress | None = None,
    on_bound: OnUrls | None = None,
    on_ready: OnUrls | None = None,
) -> None:
    """Serve until a signal, on the running event loop."""
    keys = keys or KeyRing()
    with signalled() as stop, _bound(settings) as sockets:
        async with (
            open_service(settings, keys=keys, on_progress=on_progress) as service,
            loading(service.start(files)) as starting,
            _listening(service, sockets),
            _listening_for_grpc(service) as grpc_urls,
        ):
            _tell_open(settings, keys)
            urls = {**_to_urls(settings, sockets), **grpc_urls}
            if on_bound is not None:
                on_bound(urls)
            if await begin(starting, stop):
                if on_ready is not None:
                    on_ready(urls)
                await stop.wait()
            _log.info("draining, for %s s at most", settings.grace_s)
            await service.orchestrator.drain(settings.grace_s)


def _tell_open(settings: Settings, keys: KeyRing) -> None:
    """Say so where anybody may do anything."""
    addresses = [*settings.listeners, settings.grpc_address]
    places = [str(address) for address in addresses if address and not address.is_loopback]
    if keys.is_empty and places:
        _log.warning("%s: other machines reach it, and no key is asked for", ", ".join(places))


@contextmanager
def _bound(settings: Settings) -> Iterator[dict[Address, socket.socket]]:
    """Bind every address, before anything is loaded."""
    sockets: dict[Address, socket.socket] = {}
    try:
        for address in settings.listeners:
            sockets[address] = bind(address)
        yield sockets
    finally:
        for bound in sockets.values():
            bound.close()


@asynccontextmanager
async def _listening(
    service: Service, sockets: Mapping[Address, socket.socket]
) -> AsyncIterator[None]:
    """Answer requests on every listener; at the end, let those in hand finish."""
    settings = service.settings
    app = create_app(service)
    async with app.lifespan():
        listeners = [
            (Listener(to_config(Edge(service, app, scopes), settings)), sockets[address])
            for address, scopes in settings.listeners.items()
        ]
        async with listening_on(listeners):
            yield


@asynccontextmanager
async def listening_on(
    listeners: Iterable[tuple[Listener, socket.socket]],
) -> AsyncIterator[None]:
    """Have each listener answer on its socket; at the end, let requests in hand finish."""
    tasks = {asyncio.create_task(each.serve([bound])): each for each, bound in listeners}
    try:
        yield
    finally:
        for listener in tasks.values():
            listener.should_exit = True
        await asyncio.gather(*tasks)


@asynccontextmanager
async def _listening_for_grpc(service: Service) -> AsyncIterator[dict[str, str]]:
    """Answer calls over gRPC, if that is wanted; gives the URL."""
    address = service.settings.grpc_address
    if address is None:
        yield {}
        return
    from torchloom_api.grpc.listener import listen  # noqa: PLC0415 - only where it is wanted

    async with listen(service, address) as bound:
        yield {"grpc": f"grpc://{bound}"}


def to_config(
    app: ASGIApp,
    settings: Settings,
    *,
    protocol: type[asyncio.Protocol] | None = None,
    has_date: bool = True,
) -> uvicorn.Config:
    """Configure one listener; without a `protocol` it is HTTP/1.1 as we guard it."""
    limits = {"max_header_s": settings.max_header_s, "max_stall_s": settings.max_stall_s}
    return uvicorn.Config(
        app,
        http=protocol or guard(**limits),
        ws="none",
        lifespan="off",
        log_config=None,
        access_log=False,
        server_header=False,
        date_header=has_date,
        proxy_headers=False,
        backlog=BACKLOG,
        timeout_keep_alive=_KEEP_ALIVE_S,
        timeout_graceful_shutdown=max(1, round(settings.grace_s)),
    )


def _to_urls(settings: Settings, sockets: Mapping[Address, socket.socket]) -> dict[str, str]:
    """Give the URL of each scope, with the port that was really bound."""
    urls: dict[str, str] = {}
    for scope, address in settings.addresses.items():
        port = sockets[address].getsockname()[1]
        urls[scope] = f"http://{Address(address.host, port)}"
    return urls
