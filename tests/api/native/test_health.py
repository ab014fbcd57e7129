"""Routes of health."""

from __future__ import annotations

import httpx
from api_fakes.documents import ECHO, Register

from torchloom.errors import ModelLoadError
from torchloom_api.failed import Failed
from torchloom_api.service import Service


async def test_is_well_where_everything_serves(
    client: httpx.AsyncClient, register: Register
) -> None:
    """All three are 200, and name the models with their states."""
    await register(ECHO)
    for name in ("live", "startup", "ready"):
        response = await client.get(f"/api/health/{name}")
        assert (response.status_code, response.json()["status"]) == (200, "ok")
    assert response.json()["models"] == {"echo@1": "ready"}


async def test_is_not_ready_with_a_broken_registration(
    client: httpx.AsyncClient, service: Service
) -> None:
    """What the store holds and does not serve is told; the server is alive and started."""
    error = ModelLoadError("no weights")
    service.registrar.failed.add(
        Failed(kind="models", name="m", version=2, error=error, is_kept=True)
    )
    ready = await client.get("/api/health/ready")

    assert ready.status_code == 503
    assert "m@2: no weights" in ready.json()["detail"]
    assert (await client.get("/api/health/live")).status_code == 200
    assert (await client.get("/api/health/startup")).status_code == 200


async def test_is_ready_after_a_request_that_failed(client: httpx.AsyncClient) -> None:
    """A registration that was refused does not make the server unready."""
    headers = {"content-type": "application/yaml"}
    await client.post("/api/models", content="name: b\nfactory: broken", headers=headers)

    assert (await client.get("/api/health/ready")).status_code == 200
