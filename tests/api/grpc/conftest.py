"""A gRPC server over the tests' service, and a channel to it."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from torchloom_api.grpc.listener import listen
from torchloom_api.service import Service
from torchloom_api.settings import Address


@pytest.fixture
async def channel(service: Service) -> AsyncIterator[grpc.aio.Channel]:
    """Serve on a free port."""
    async with (
        listen(service, Address("127.0.0.1", 0)) as address,
        grpc.aio.insecure_channel(str(address)) as channel,
    ):
        yield channel
