"""Route of devices."""

from __future__ import annotations

import httpx


async def test_lists_the_cpu(client: httpx.AsyncClient) -> None:
    """The CPU is always there, with its cores and memory."""
    cpu = (await client.get("/api/devices")).json()["items"][0]

    assert cpu["device"] == "cpu"
    assert cpu["cores"] >= 1
    assert cpu["memory"] > cpu["free_memory"] > 0
