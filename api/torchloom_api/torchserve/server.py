"""serve_torchserve: TorchServe's three ports and the native API, in one process, over one registry.

Opens the ports, loads what is to be there from the start, and ends as the native server does.
"""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager, nullcontext
from typing import Final

import uvloop

from torchloom.device import Device
from torchloom.executor import Executor
from torchloom.pool import OnProgress
from torchloom_api.app import create_app, open_service
from torchloom_api.edge import Edge
from torchloom_api.key_ring import KeyRing
from torchloom_api.machine import find_memories
from torchloom_api.reader import Reader
from torchloom_api.registrar import first_error
from torchloom_api.server import Listener, begin, signalled, to_config
from torchloom_api.service import Service
from torchloom_api.settings import Settings
from torchloom_api.torchserve.catalog import Catalog
from torchloom_api.torchserve.door import Door, Port
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.gate import Gate, TokenRing
from torchloom_api.torchserve.grpc.listener import listen
from torchloom_api.torchserve.identity import Identity, read_identity
from torchloom_api.torchserve.listen import Place, bound, places
from torchloom_api.torchserve.opening import to_frontend_settings
from torchloom_api.torchserve.protocol import guard_spelled
from torchloom_api.torchserve.registration import Registration
from torchloom_api.torchserve.settings import TorchServeSettings
from torchloom_api.torchserve.snapshot_folder import SnapshotFolder
from torchloom_api.torchserve.startup import load_startup_models, retry_startup_models
from torchloom_api.torchserve.telemetry.watch import open_watch
from torchloom_api.torchserve.tls_listener import HttpsOnly, TlsListener
from torchloom_api.torchserve.token_file import TokenFile
from torchloom_api.torchserve.workflow.registration import WorkflowRegistration


_log = logging.getLogger(__name__)

_MINUTE_S: Final = 60.0

#: Is told the frontend: to watch it before the first request, or when no more are taken.
OnFrontend = Callable[[Frontend], None]

#: Is told where each port answers, once all that is to be there from the start serves.
OnReady = Callable[[Frontend, Mapping[Port, str]], None]


def run(settings: TorchServeSettings, on_ready: Callable[[], None]) -> None:
    """Serve what the command line says until a signal; `on_ready` is called once all serves."""
    folder = SnapshotFolder(settings.snapshot_folder, settings.given)

    def begin(frontend: Frontend, urls: Mapping[Port, str]) -> None:
        _log.info("serving at %s", ", ".join(sorted(set(urls.values()))))
        _log.info("serving gRPC at %s", ", ".join(sorted(set(frontend.grpc_addresses.values()))))
        if settings.has_snapshots:
            catalog = frontend.catalog
            folder.write(catalog, "startup")
            catalog.on_change = lambda: folder.write(catalog, "snapshot")
        on_ready()

    def end(frontend: Frontend) -> None:
        frontend.catalog.on_change = lambda: None
        if settings.has_snapshots:
            folder.write(frontend.catalog, "shutdown")

    run_torchserve(to_frontend_settings(settings), on_ready=begin, on_end=end)


def run_torchserve(
    settings: FrontendSettings,
    *,
    on_progress: OnProgress | None = None,
    on_open: OnFrontend | None = None,
    on_ready: OnReady | None = None,
    on_end: OnFrontend | None = None,
) -> None:
    """Serve until a signal. Raises InvalidSettings for what keeps the server from starting."""
    serving = serve_torchserve(
        settings, on_progress=on_progress, on_open=on_open, on_ready=on_ready, on_end=on_end
    )
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(serving)


async def serve_torchserve(
    settings: FrontendSettings,
    *,
    on_progress: OnProgress | None = None,
    on_open: OnFrontend | None = None,
    on_ready: OnReady | None = None,
    on_end: OnFrontend | None = None,
) -> None:
    """Serve until a signal, on the running event loop."""
    with signalled() as stop:
        async with open_frontend(settings, on_progress=on_progress, on_open=on_open) as opened:
            frontend, urls = opened
            if await begin(start(frontend), stop):
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
    make_reader: Callable[[Settings], Reader] = Reader,
    executor: Executor | None = None,
    has_grpc: bool = True,
    on_progress: OnProgress | None = None,
    on_open: OnFrontend | None = None,
) -> AsyncIterator[tuple[Frontend, Mapping[Port, str]]]:
    """Answer on every port; nothing is loaded yet. At the end, all is ended and closed.

    `executor`: what starts workers, where the logs do not decide it.
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
        context = None if identity is None else identity.to_context()
        with bound(settings) as sockets, open_watch(settings) as watch:
            async with open_service(
                native,
                keys=keys,
                reader=make_reader(native),
                executor=executor or watch.executor,
                on_progress=on_progress,
            ) as service:
                frontend = await _make_frontend(settings, service, tokens)
                if on_open is not None:
                    on_open(frontend)
                async with (
                    watch.over(frontend),
                    _listening(frontend, sockets, context),
                    _listening_for_grpc(frontend, identity) if has_grpc else nullcontext(),
                ):
                    yield frontend, _urls(settings, sockets)
                await frontend.workflows.close()
                await frontend.registration.close()
    except ExceptionGroup as group:
        # Litestar's lifespan makes one of whatever ends the start.
        raise first_error(group) from None
    finally:
        if tokens is not None:
            tokens.remove()


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
    return Frontend(
        settings=settings,
        service=service,
        catalog=catalog,
        gate=Gate(tokens, is_401=settings.auth_401),
        registration=registration,
        workflows=WorkflowRegistration(settings, registration, registrar, orchestrator),
    )


async def _find_gpus(most: int | None) -> list[int]:
    devices = [Device.parse(view.device) for view in await find_memories()]
    numbers = [int(each.unit or 0) for each in devices if each.kind == "cuda"]
    return numbers if most is None else numbers[:most]


@asynccontextmanager
async def _listening(
    frontend: Frontend, sockets: Mapping[Place, socket.socket], context: ssl.SSLContext | None
) -> AsyncIterator[None]:
    service = frontend.service
    app = create_app(service)
    native = service.settings
    protocol = guard_spelled(max_header_s=native.max_header_s, max_stall_s=native.max_stall_s)
    listeners: dict[asyncio.Task[None], Listener] = {}

    def listen(place: Place, door: Door) -> Listener:
        config = to_config(door, native, protocol=protocol, has_date=False)
        if not place.is_tls:
            return Listener(config)
        assert context is not None, "where a place speaks TLS there is one"
        refusing = HttpsOnly(frontend.extra_headers)
        plain = to_config(refusing, native, protocol=protocol, has_date=False)
        return TlsListener(config, plain, context)

    async with app.lifespan():
        for place, ports in places(frontend.settings).items():
            scopes = _scopes(ports, is_model_api=frontend.settings.enable_model_api)
            door = Door(frontend, Edge(service, app, scopes), ports)
            listener = listen(place, door)
            listeners[asyncio.create_task(listener.serve([sockets[place]]))] = listener
        try:
            yield
        finally:
            for listener in listeners.values():
                listener.should_exit = True
            await asyncio.gather(*listeners)


@asynccontextmanager
async def _listening_for_grpc(frontend: Frontend, identity: Identity | None) -> AsyncIterator[None]:
    named = identity if frontend.settings.enable_grpc_ssl else None
    async with listen(frontend, named) as addresses:
        frontend.grpc_addresses.update({scope: str(at) for scope, at in addresses.items()})
        yield


def _scopes(ports: frozenset[Port], *, is_model_api: bool) -> frozenset[str]:
    """Give the native API's scopes on a place: none to register where TorchServe has none."""
    return frozenset(port for port in ports if port != "management" or is_model_api)


def _urls(settings: FrontendSettings, sockets: Mapping[Place, socket.socket]) -> dict[Port, str]:
    return {
        port: place.url(sockets[place])
        for place, ports in places(settings).items()
        for port in ports
    }
