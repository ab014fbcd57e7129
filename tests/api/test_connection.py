"""A connection tells that its client has left."""

from __future__ import annotations

import asyncio

import pytest
from api_fakes.turns import turns

from torchloom_api.connection import CONNECTION_KEY, Connection
from torchloom_api.exchange import ClientGone, Exchange
from torchloom_api.presence import Presence, while_present


async def never() -> None:
    """Wait for nothing that comes."""
    await asyncio.Event().wait()


def exchange_on(connection: Connection) -> Exchange:
    """Make an exchange whose server has put the connection into its scope."""
    scope = {"path": "/", "headers": [], CONNECTION_KEY: connection}
    return Exchange(scope, never, never)


async def test_cancels_the_work_of_a_client_that_leaves() -> None:
    """At once, and the caller is told so by ClientGone."""
    connection = Connection(lambda: None)
    work = asyncio.ensure_future(while_present(exchange_on(connection), asyncio.Event().wait()))
    await asyncio.sleep(0)
    connection.lose()

    with pytest.raises(ClientGone):
        await work


async def test_tells_of_a_client_that_had_left_before() -> None:
    """Whoever begins to watch too late is told as well, soon and once."""
    connection, calls = Connection(lambda: None), []
    connection.lose()
    with Presence(exchange_on(connection), lambda: calls.append("left")):
        await turns(lambda: calls)
        connection.lose()

    assert calls == ["left"]


async def test_tells_nobody_who_watches_no_more() -> None:
    """A client that leaves after its answer disturbs nothing."""
    connection, calls = Connection(lambda: None), []
    with Presence(exchange_on(connection), lambda: calls.append("left")):
        pass
    connection.lose()
    with Presence(exchange_on(connection), lambda: calls.append("left")):
        pass
    for _ in range(5):
        await asyncio.sleep(0)

    assert calls == []


async def test_reads_on_while_somebody_watches() -> None:
    """A connection that is not read does not notice that its client has left."""
    resumed: list[None] = []
    connection = Connection(lambda: resumed.append(None))
    connection.watch(lambda: None)

    assert resumed
