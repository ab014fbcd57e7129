"""serve_torchserve: TorchServe's three ports and the native API, in one process, over one registry.

Binds the ports, begins to load what is to be there from the start, answers, and ends as the native
server does. Imports no web framework: workers are started before that.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final

import uvloop

from torchloom import garbage
from torchloom.device import Device
from torchloom.executor import Executor
from torchloom.pool import OnProgress
from torchloom_api.key_ring import KeyRing
from torchloom_api.lifetime import begin, loading, signalled
from torchloom_api.machine import find_memories
from torchloom_api.reader import Reader
from torchloom_api.registrar import first_error
from torchloom_api.service import Service, open_service
from torchloom_api.settings import Settings
from torchloom_api.torchserve.catalog import Catalog
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.gate import Gate, TokenRing
from torchloom_api.torchserve.identity import Identity, read_identity
from torchloom_api.torchserve.listen import Place, Port, bound, places, require_free
from torchloom_api.torchserve.opening import to_frontend_settings
from torchloom_api.torchserve.own_folder import find_own_folder
from torchloom_api.torchserve.registration import Registration
from torchloom_api.torchserve.settings import TorchServeSettings
from torchloom_api.torchserve.snapshot_folder import SnapshotFolder
from torchloom_api.torchserve.startup import load_startup_models, retry_startup_models
from torchloom_api.torchserve.telemetry.watch import open_watch
from torchloom_api.torchserve.token_file import TokenFile
from torchloom_api.torchserve.workflow.registration import WorkflowRegistration


_log = logging.getLogger(__name__)

_MINUTE_S: Final = 60.0

#: Is told the frontend, when no more requests are taken.
OnFrontend = Callable[[Frontend], None]

#: Is told where each port answers, once all that is to be there from the start serves.
OnReady = Callable[[Frontend, Mapping[Port, str]], None]

#: Makes what reads the documents of models.
MakeReader = Callable[[Settings], Reader]


def run(settings: TorchServeSettings, on_ready: Callable[[], None]) -> None:
    """Serve what the command line says until a signal; `on_ready` is called once all serves."""
    folder = SnapshotFolder(settings.snapshot_folder, settings.given)

    def begin(frontend: Frontend, urls: Mapping[Port, str]) -> None:
        _log.info("serving at %s", ", ".join(sorted(set(urls.values()))))
        _log.info("serving gRPC at %s", ", ".join(sorted(set(frontend.grpc_addresses.values()))))
        if settings.has_snapshots:
            catalog, absent = frontend.catalog, frontend.absent
            folder.write(catalog, absent, "startup")
            catalog.on_change = lambda: folder.write(catalog, absent, "snapshot")
        on_ready()

    def end(frontend: Frontend) -> None:
        frontend.catalog.on_change = lambda: None
        if settings.has_snapshots:
            folder.write(frontend.catalog, frontend.absent, "shutdown")

    own = find_own_folder(Path.cwd(), os.environ)
    told = replace(to_frontend_settings(settings), store=str(own))
    run_torchserve(told, on_ready=begin, on_end=end)


def run_torchserve(
    settings: FrontendSettings,
    *,
    on_progress: OnProgress | None = None,
    on_ready: OnReady | None = None,
    on_end: OnFrontend | None = None,
) -> None:
    """Serve until a signal. Raises InvalidSettings for what keeps the server from starting."""
    serving = serve_torchserve(settings, on_progress=on_progress, on_ready=on_ready, on_end=on_end)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def serve_torchserve(
    settings: FrontendSettings,
    *,
    on_progress: OnProgress | None = None,
    on_ready: OnReady | None = None,
    on_end: OnFrontend | None = None,
) -> None:
    """Serve until a signal, on the running event loop.

    Workers are started before what answers on the ports is even imported: they take longer.
    """
    with signalled() as stop:
        async with (
            _open_parts(settings, on_progress=on_progress) as parts,
            loading(start(parts.frontend)) as starting,
            _answering(parts) as urls,
        ):
            frontend = parts.frontend
            if await begin(starting, stop):
                if on_ready is not None:
                    on_ready(frontend, urls)
                retrying = asyncio.create_task(retry_startup_models(frontend))
                await stop.wait()
                retrying.cancel()
                await asyncio.wait([retrying])
                if on_end is not None:
                    on_end(frontend)
            await frontend.service.orchestrator.drain(settings.grace_s)


async def start(frontend: Frontend) -> None:
    """Bring into service what the native store holds, and the models of the start."""
    await frontend.service.restoration.start([])
    await frontend.service.adapters.restore()
    await load_startup_models(frontend)
    frontend.service.is_started = True


@asynccontextmanager
async def open_frontend(
    settings: FrontendSettings,
    *,
    make_reader: MakeReader = Reader,
    executor: Executor | None = None,
    has_grpc: bool = True,
) -> AsyncIterator[tuple[Frontend, Mapping[Port, str]]]:
    """Answer on every port; nothing is loaded yet. At the end, all is ended and closed.

    `executor`: what starts workers, where the logs do not decide it.
    """
    async with (
        _open_parts(
            settings, make_reader=make_reader, executor=executor, has_grpc=has_grpc
        ) as parts,
        _answering(parts, has_grpc=has_grpc) as urls,
    ):
        yield parts.frontend, urls


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What answers on the ports works with. `identity`: who it is, where a port speaks TLS.

    `context`: what connections are opened with there.
    """

    frontend: Frontend
    sockets: Mapping[Place, socket.socket]
    identity: Identity | None
    context: ssl.SSLContext | None


@asynccontextmanager
async def _open_parts(
    settings: FrontendSettings,
    *,
    make_reader: MakeReader = Reader,
    executor: Executor | None = None,
    on_progress: OnProgress | None = None,
    has_grpc: bool = True,
) -> AsyncIterator[_Parts]:
    """Bind every port, open the logs, and watch what will happen. At the end, all is ended.

    Whatever keeps a server from answering, and can be known before anything loads, is told here.
    """
    settings.check()
    tokens = None
    if not settings.disable_token_authorization:
        life_s = settings.token_expiration_min * _MINUTE_S
        tokens = TokenFile(settings.key_file, life_s=life_s)
    keys = KeyRing() if tokens is None else TokenRing(tokens)
    native = native_settings(settings)
    try:
        identity = await asyncio.to_thread(_find_identity, settings)
        context = None if identity is None else await asyncio.to_thread(identity.to_context)
        with bound(settings) as sockets, open_watch(settings) as watch:
            if has_grpc:
                require_free(settings)
            async with (
                open_service(
                    native,
                    keys=keys,
                    reader=make_reader(native),
                    executor=executor or watch.executor,
                    on_progress=on_progress,
                ) as service,
                AsyncExitStack() as closing,
            ):
                frontend = await _make_frontend(settings, service, tokens)
                closing.push_async_callback(frontend.registration.close)
                closing.push_async_callback(frontend.workflows.close)
                async with watch.over(frontend):
                    yield _Parts(
                        frontend=frontend, sockets=sockets, identity=identity, context=context
                    )
    except ExceptionGroup as group:
        # Litestar's lifespan makes one of whatever ends the start.
        raise first_error(group) from None
    finally:
        if tokens is not None:
            tokens.remove()


@asynccontextmanager
async def _answering(parts: _Parts, *, has_grpc: bool = True) -> AsyncIterator[Mapping[Port, str]]:
    """Answer on every port; gives where."""
    answering = await asyncio.to_thread(_find_answering)
    frontend, sockets = parts.frontend, parts.sockets
    async with answering(frontend, sockets, parts.identity, parts.context, has_grpc=has_grpc):
        yield _urls(frontend.settings, sockets)


def _find_answering() -> Callable[..., AbstractAsyncContextManager[None]]:
    with garbage.importing():
        from torchloom_api.torchserve.ports import answering  # noqa: PLC0415 - see there

    return answering


def _find_identity(settings: FrontendSettings) -> Identity | None:
    """Give who this server is, if any port speaks TLS. Raises InvalidSettings."""
    if not settings.enable_grpc_ssl and not any(place.is_tls for place in places(settings)):
        return None
    identity = read_identity(settings)
    if identity.is_made_up:
        _log.warning(
            "no certificate is configured (private_key_file, certificate_file or keystore): one "
            "was made up, for which nobody vouches"
        )
    return identity


def native_settings(settings: FrontendSettings) -> Settings:
    """Give what the native API on the same ports works with."""
    return Settings(
        store=settings.store,
        max_body_bytes=max(settings.max_request_size, 32 * 1024 * 1024),
        allow_open=True,
        install_requirements=settings.install_py_dep_per_model,
        grace_s=settings.grace_s,
    )


async def _make_frontend(
    settings: FrontendSettings, service: Service, tokens: TokenFile | None
) -> Frontend:
    catalog = Catalog(service.orchestrator, first_worker_id=settings.initial_worker_port)
    gpus = await _find_gpus(settings.number_of_gpu)
    registrar, orchestrator = service.registrar, service.orchestrator
    archives = service.settings.archives_folder
    registration = Registration(settings, catalog, registrar, gpus=gpus, archives=archives)
    frontend = Frontend(
        settings=settings,
        service=service,
        catalog=catalog,
        gate=Gate(tokens, is_401=settings.auth_401),
        registration=registration,
        workflows=WorkflowRegistration(settings, registration, registrar, orchestrator),
    )
    catalog.on_serve = frontend.absent.settle
    return frontend


async def _find_gpus(most: int | None) -> list[int]:
    devices = [Device.parse(view.device) for view in await find_memories()]
    numbers = [int(each.unit or 0) for each in devices if each.kind == "cuda"]
    return numbers if most is None else numbers[:most]


def _urls(settings: FrontendSettings, sockets: Mapping[Place, socket.socket]) -> dict[Port, str]:
    return {
        port: place.url(sockets[place])
        for place, ports in places(settings).items()
        for port in ports
    }
