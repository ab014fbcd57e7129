"""Clients of the gRPC services of a server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack

import grpc
import pytest
from api_fakes.grpc_client import ASKED, MANAGED, OPEN_INFERENCE, Client
from api_fakes.torchserve import Served

from torchloom_api.torchserve.grpc.open_inference import DESCRIPTOR


Connect = Callable[..., Client]


@pytest.fixture
async def connect() -> AsyncIterator[Connect]:
    """Give what makes clients: of the inference service unless another is named."""
    async with AsyncExitStack() as stack:
        opened: list[grpc.aio.Channel] = []

        def connect(served: Served, service: str = "inference", token: str | None = None) -> Client:
            port = "management" if service == "management" else "inference"
            channel = grpc.aio.insecure_channel(served.frontend.grpc_addresses[port])
            opened.append(channel)
            if service == "tensors":
                return Client(channel, DESCRIPTOR, token=token, name=OPEN_INFERENCE)
            return Client(channel, ASKED if port == "inference" else MANAGED, token=token)

        async def close() -> None:
            for channel in opened:
                await channel.close()

        stack.push_async_callback(close)
        yield connect


@pytest.fixture
def client(served: Served, connect: Connect) -> Client:
    """Give a client of the inference service of a server that has a model `noop`."""
    return connect(served)
