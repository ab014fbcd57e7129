"""What keeps an archive from being registered."""

from __future__ import annotations

import pytest
from api_fakes.torchserve import MakeMar, Serve

from torchloom_api.torchserve import server
from torchloom_api.torchserve.frontend_settings import StartupVersion


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


async def test_takes_what_the_property_models_says(serve: Serve, make_mar: MakeMar) -> None:
    """By name and version, whatever file it names; over the API, too, but for the workers."""
    make_mar("m.mar", "m")
    make_mar("n.mar", "n", version="2.0")
    said = StartupVersion(
        file="other.mar", min_workers=2, max_workers=3, batch_size=4, max_batch_delay_ms=70
    )
    served = await serve(
        load_models=("m.mar", "n.mar"), models={"m": {"1.0": said}, "n": {"1.0": said}}
    )
    await served.management.delete("/models/n")
    await served.management.post("/models?url=n.mar&model_name=m")
    keys = ("modelVersion", "minWorkers", "maxWorkers", "batchSize", "maxBatchDelay")
    found = [
        [each[key] for key in keys]
        for each in (await served.management.get("/models/m/all")).json()
    ]
    assert found[0] == ["1.0", 2, 3, 4, 70]
    assert found[1][3:] == [1, 100]
    await served.management.delete("/models/m/2.0")
    await served.management.delete("/models/m")
    await served.management.post("/models?url=m.mar&initial_workers=1&batch_size=2")
    (again,) = (await served.management.get("/models/m")).json()
    assert [again[key] for key in keys] == ["1.0", 1, 1, 2, 70]
