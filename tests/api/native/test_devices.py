"""Route of devices."""

from __future__ import annotations

import httpx
import pytest

from torchloom_api.service import Service


async def test_lists_the_cpu(client: httpx.AsyncClient) -> None:
    """The CPU is always there, with its cores and memory."""
    cpu = (await client.get("/api/devices")).json()["items"][0]

    assert cpu["device"] == "cpu"
    assert cpu["cores"] >= 1
    assert cpu["memory"] > cpu["free_memory"] > 0


async def test_lists_openvinos_devices(client: httpx.AsyncClient) -> None:
    """Where the package is installed its CPU is a device of its own, by the processor's name."""
    pytest.importorskip("openvino")
    items = (await client.get("/api/devices")).json()["items"]

    (cpu,) = [item for item in items if item["device"] == "openvino:CPU"]
    assert cpu["name"]


async def test_tells_what_models_hold(client: httpx.AsyncClient, service: Service) -> None:
    """Beside what the machine has, the budget of models, and what they use of it."""
    service.orchestrator.memory.budgets = {"cpu": 1 << 40}
    cpu = (await client.get("/api/devices")).json()["items"][0]

    assert (cpu["budget"], cpu["used"]) == (1 << 40, 0)
