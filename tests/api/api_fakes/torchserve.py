"""A server of TorchServe's API for tests, and what starts it and writes archives for it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol
from urllib.parse import urlsplit

import httpx

from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.listen import Port


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

#: Writes an archive of a language model: a name, lines of model-config.yaml, keys of its engine.
MakeLlm = Callable[..., Path]

#: Writes a workflow archive: name, specification, and what else is in it.
MakeWar = Callable[..., Path]

#: A workflow of a function, two models beside each other, and a function that joins them.
DIAMOND = """\
models:
  min-workers: 1
  max-workers: 4
  batch-size: 4
  max-batch-delay: 200
  retry-attempts: 3
  timeout-ms: 5000
  m1: {url: a.mar, batch-size: 1}
  m2: {url: b.mar, max-workers: 2}
dag:
  pre: [m1, m2]
  m1: [agg]
  m2: [agg]
"""


def ids_of(document: Mapping[str, Mapping[str, Mapping[str, Mapping[str, object]]]]) -> object:
    """Give the operation ids of an OpenAPI document, by method and path."""
    return {
        f"{method} {path}": operation["operationId"]
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
