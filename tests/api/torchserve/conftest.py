"""TorchServe's API over real sockets, in this process, with engines in threads."""

from __future__ import annotations

import asyncio
import json
import socket
import sys
import zipfile
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Self

import httpx
import pytest

from torchloom_api.settings import Address
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import FrontendSettings, GrpcPort
from torchloom_api.torchserve.listen import Port
from torchloom_api.torchserve.server import open_frontend, start


sys.path.insert(0, str(Path(__file__).parents[1]))

from api_fakes import handlers
from api_fakes.torchserve import ANY, MakeLlm, MakeMar, Serve, Served


@pytest.fixture
def store(tmp_path: Path) -> Path:
    """Give an empty model store."""
    folder = tmp_path / "models"
    folder.mkdir()
    return folder


@pytest.fixture
def make_mar(store: Path) -> MakeMar:
    """Give what writes archives into the model store."""

    def make(
        file: str,
        name: str = "noop",
        *,
        version: str | None = "1.0",
        config: str | None = None,
        **model: object,
    ) -> Path:
        about = {"modelName": name, "handler": "handler.py", "modelVersion": version, **model}
        if config is not None:
            about["configFile"] = "model-config.yaml"
        path = store / file
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps({"model": about}))
            archive.writestr("handler.py", "")
            if config is not None:
                archive.writestr("model-config.yaml", config)
        return path

    return make


@pytest.fixture
def make_llm(make_mar: MakeMar, tmp_path: Path) -> MakeLlm:
    """Give what writes archives of language models."""
    model = tmp_path / "weights"
    model.mkdir()
    (model / "config.json").write_text("{}")
    (model / "model.safetensors").write_bytes(bytes(8))

    def make(
        name: str = "llm",
        *lines: str,
        handler: str = "vllm_handler",
        version: str = "1.0",
        **config: object,
    ) -> Path:
        section = {"model_path": str(model), "vllm_engine_config": config}
        section |= {"adapters": {"org/sql": str(model)}}
        text = "\n".join(
            ["minWorkers: 1", "maxWorkers: 1", *lines, f"handler: {json.dumps(section)}"]
        )
        return make_mar(f"{name}.mar", name, version=version, config=text, handler=handler)

    return make


@pytest.fixture
def free_port() -> int:
    """Give a port that nobody has."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port


@pytest.fixture(autouse=True)
def _let_go() -> Iterator[None]:
    """No engine hangs beyond its test."""
    handlers.release.clear()
    handlers.admitted.clear()
    handlers.cancelled.clear()
    handlers.begun.clear()
    handlers.failing.clear()
    yield
    handlers.release.set()


class Running:
    """Servers, each in a task of its own: fixtures begin and end in different ones."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []

    async def begin(self, settings: FrontendSettings) -> tuple[Frontend, Mapping[Port, str]]:
        """Start one. Raises what keeps it from starting."""
        ready: asyncio.Future[tuple[Frontend, Mapping[Port, str]]] = asyncio.Future()
        self._tasks.append(asyncio.create_task(self._run(settings, ready)))
        return await ready

    async def _run(
        self,
        settings: FrontendSettings,
        ready: asyncio.Future[tuple[Frontend, Mapping[Port, str]]],
    ) -> None:
        try:
            async with open_frontend(settings, make_reader=handlers.HandlerReader) as opened:
                await start(opened[0])
                ready.set_result(opened)
                await self._stop.wait()
                opened[0].service.orchestrator.check()
        except Exception as error:
            if ready.done():
                raise
            ready.set_exception(error)

    async def __aenter__(self) -> Self:
        """Begin."""
        return self

    async def __aexit__(self, *error: object) -> None:
        """End all."""
        handlers.release.set()
        self._stop.set()
        await asyncio.gather(*self._tasks)


@pytest.fixture
async def serve(store: Path, tmp_path: Path) -> AsyncIterator[Serve]:
    """Start servers on free ports: without tokens, with the model API, unless told otherwise."""
    async with AsyncExitStack() as stack, Running() as running:

        async def serve(**settings: object) -> Served:
            given = FrontendSettings(
                **{
                    "inference_address": ANY,
                    "management_address": "http://localhost:0",
                    "metrics_address": "http://127.0.0.2:0",
                    "grpc_inference": GrpcPort(at=Address("127.0.0.1", 0)),
                    "grpc_management": GrpcPort(at=Address("127.0.0.1", 0)),
                    "model_store": store,
                    "store": str(tmp_path / "native"),
                    "key_file": tmp_path / "key_file.json",
                    "disable_token_authorization": True,
                    "enable_model_api": True,
                    "default_workers_per_model": 1,
                    "grace_s": 5.0,
                    **settings,
                }  # type: ignore[arg-type]  # tests give any
            )
            frontend, urls = await running.begin(given)
            clients = {
                port: await stack.enter_async_context(
                    httpx.AsyncClient(base_url=urls.get(port, "http://none"), timeout=30)
                )
                for port in ("inference", "management", "metrics")
            }
            return Served(frontend=frontend, urls=dict(urls), **clients)

        yield serve


@pytest.fixture
async def served(serve: Serve, make_mar: MakeMar) -> Served:
    """Give a server that has a model `noop` from the start."""
    make_mar("noop.mar")
    return await serve(load_models=("noop.mar",))
