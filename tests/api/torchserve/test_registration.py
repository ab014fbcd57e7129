"""What keeps an archive from being registered."""

from __future__ import annotations

import pytest
from api_fakes.torchserve import MakeMar, Serve

from torchloom_api.torchserve import server


@pytest.mark.parametrize("kind", ["tp", "pp", "pptp", "custom"])
async def test_refuses_a_worker_with_more_gpus_than_there_are(
    serve: Serve, make_mar: MakeMar, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """In TorchServe's words; nothing is left of it."""

    async def find_three(_: int | None) -> list[int]:
        return [0, 1, 2]

    monkeypatch.setattr(server, "_find_gpus", find_three)
    served = await serve()
    make_mar("large.mar", "large", config=f"parallelType: {kind}\nparallelLevel: 4\n")
    answer = await served.management.post("/models?url=large.mar&initial_workers=1")

    assert (answer.status_code, answer.json()) == (
        500,
        {
            "code": 500,
            "type": "WorkerInitializationException",
            "message": "No enough gpu devices for model:large parallelLevel:4",
        },
    )
    assert (await served.management.get("/models/large")).status_code == 404
