"""A service over the real core, with engines in threads, and a client that speaks ASGI to it."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from torchloom_api.app import create_app
from torchloom_api.edge import Edge
from torchloom_api.service import Service, open_service
from torchloom_api.settings import Settings


sys.path.insert(0, str(Path(__file__).parent))

from api_fakes.documents import ALL, Register
from api_fakes.double import DoubleReader


@pytest.fixture
async def service(tmp_path: Path) -> AsyncIterator[Service]:
    """Give a started service with an empty store."""
    settings = Settings(store=str(tmp_path / "store"), grace_s=5.0)
    async with open_service(settings, reader=DoubleReader()) as service:
        await service.start([])
        yield service
        service.orchestrator.check()


@pytest.fixture
def edge(service: Service) -> Edge:
    """Give the ASGI application of one listener that serves everything."""
    return Edge(service, create_app(service), ALL)


@pytest.fixture
async def client(edge: Edge) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of it, without sockets."""
    transport = httpx.ASGITransport(app=edge, raise_app_exceptions=False)
    async with httpx.AsyncClient(transport=transport, base_url="http://test") as client:
        yield client


@pytest.fixture
def register(service: Service) -> Register:
    """Register models and workflows from their texts."""

    async def add(*texts: str) -> None:
        for text in texts:
            if "nodes" in text:
                await service.registrar.add_workflow(text)
            else:
                await service.registrar.add_model(text)

    return add
