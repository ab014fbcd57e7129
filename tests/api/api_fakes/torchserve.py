"""A server of TorchServe's API for tests, and what starts it and writes archives for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from torchloom_api.torchserve.door import Port
from torchloom_api.torchserve.frontend import Frontend


ANY = "http://127.0.0.1:0"


@dataclass
class Served:
    """A server that answers, and clients of its ports."""

    frontend: Frontend
    urls: dict[Port, str]
    inference: httpx.AsyncClient
    management: httpx.AsyncClient
    metrics: httpx.AsyncClient

    async def raw(self, data: bytes, port: Port = "inference") -> bytes:
        """Send bytes, and give all that comes back until the server closes."""
        place = urlsplit(self.urls[port])
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(data)
        answer = await reader.read()
        writer.close()
        return answer

    async def register(self, url: str, **parameters: object) -> httpx.Response:
        """Register an archive with one worker, unless told otherwise."""
        params = {"url": url, "initial_workers": 1, **parameters}
        return await self.management.post("/models", params=params)


class Serve(Protocol):
    """Starts a server with some settings."""

    async def __call__(self, **settings: object) -> Served:
        """Start one."""
        ...


MakeMar = Callable[..., Path]


def ids_of(document: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]]) -> object:
    """Give the operation ids of an OpenAPI document, by method and path."""
    return {
        f"{method} {path}": operation["operationId"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
