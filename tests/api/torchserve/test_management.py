"""TorchServe's management port: registering, listing, describing, scaling and removing models."""

from __future__ import annotations

import asyncio
import http.server
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from api_fakes import handlers
from api_fakes.torchserve import MakeMar, Serve, Served, ids_of

from torchloom.errors import ModelLoadError
from torchloom_models.archive import preparation


def said(text: str, status: int = 200) -> tuple[int, object]:
    """Give what an answer by a sentence is."""
    return status, {"status": text}


def failed(status: int, kind: str, message: str) -> tuple[int, object]:
    """Give what an error is."""
    return status, {"code": status, "type": kind, "message": message}


def names_in(folder: Path) -> list[str]:
    """Name what lies in a folder."""
    return [path.name for path in folder.iterdir()]


async def test_registers_an_archive(served: Served, make_mar: MakeMar) -> None:
    """It serves when the answer comes: registering is synchronous unless told otherwise."""
    make_mar("m.mar", "m", version="2.1")
    answer = await served.register("m.mar", initial_workers=2)

    assert (answer.status_code, answer.json()) == said(
        'Model "m" Version: 2.1 registered with 2 initial workers'
    )
    asked = await served.inference.get("/predictions/m/2.1")
    assert asked.json()["model"] == ["m", "2.1"]


async def test_registers_without_workers(serve: Serve, make_mar: MakeMar) -> None:
    """As it does where nothing is said of them."""
    make_mar("m.mar", "m")
    served = await serve(default_workers_per_model=0)
    text = (
        'Model "m" Version: 1.0 registered with 0 initial workers. Use scale workers API to add '
        "workers for the model."
    )
    answer = await served.management.post("/models?url=m.mar")

    assert (answer.status_code, answer.json()) == said(text)
    assert (await served.inference.get("/predictions/m")).status_code == 503
    (model,) = (await served.inference.get("/api/models")).json()["items"]
    assert (model["name"], model["state"]) == ("m", "empty")
    await served.management.delete("/models/m")
    negative = await served.register("m.mar", initial_workers=-3)
    assert negative.json()["status"] == text


async def test_registers_in_the_background(serve: Serve, make_mar: MakeMar) -> None:
    """Where it is told to; what any other word but `true` says, too."""
    served = await serve()
    make_mar("m.mar", "m")
    answer = await served.register("m.mar", synchronous="junk")

    assert (answer.status_code, answer.json()) == said("Processing worker updates...", 202)


async def test_shows_a_model_while_it_loads(served: Served, make_mar: MakeMar) -> None:
    """And refuses a second one of its name and version."""
    make_mar("slow.mar", "slow")
    await served.register("slow.mar", synchronous="false")
    shown = await served.management.get("/models/slow")
    again = await served.register("slow.mar")
    handlers.release.set()

    assert shown.json()[0]["modelName"] == "slow"
    assert (again.status_code, again.json()) == failed(
        409,
        "ConflictStatusException",
        "Model version 1.0 is already registered for model slow",
    )


async def test_registers_by_a_json_body(served: Served, make_mar: MakeMar) -> None:
    """Numbers may be text, and what is left out has the same default as in a query."""
    make_mar("m.mar", "m")
    body = {"url": "m.mar", "model_name": "other", "initial_workers": "1", "batch_size": 4.0}
    answer = await served.management.post("/models", json=body)
    (model,) = (await served.management.get("/models/other")).json()

    assert answer.status_code == 200
    assert (model["batchSize"], model["maxBatchDelay"]) == (4, 100)


async def test_takes_defaults_for_what_is_no_number(served: Served, make_mar: MakeMar) -> None:
    """TorchServe is lenient there."""
    make_mar("m.mar", "m")
    await served.register("m.mar", batch_size="many", max_batch_delay="long")
    (model,) = (await served.management.get("/models/m")).json()

    assert (model["batchSize"], model["maxBatchDelay"]) == (1, 100)


async def test_lets_the_archive_and_the_request_decide(served: Served, make_mar: MakeMar) -> None:
    """Workers and timeouts are the YAML's, batches the request's."""
    make_mar(
        "m.mar", "m", config="minWorkers: 1\nmaxWorkers: 2\nresponseTimeout: 3\nbatchSize: 9\n"
    )
    await served.register("m.mar", initial_workers=3, response_timeout=77, batch_size=4)
    (model,) = (await served.management.get("/models/m")).json()

    assert (model["minWorkers"], model["maxWorkers"], len(model["workers"])) == (1, 2, 1)
    assert (model["responseTimeout"], model["batchSize"]) == (3, 4)


async def test_tells_the_engine_what_the_request_says(served: Served, make_mar: MakeMar) -> None:
    """Its handler goes before the archive's."""
    make_mar("m.mar", "m", envelope="kserve")
    await served.register("m.mar", handler="other.py:handle")
    answer = await served.inference.get("/predictions/m")

    assert answer.json()["config"] == {"handler": "other.py:handle", "envelope": "kserve"}


async def test_refuses_handlers_in_cpp(served: Served, make_mar: MakeMar) -> None:
    """Whoever says so: there is nothing that could run them."""
    make_mar("m.mar", "m")
    answer = await served.register("m.mar", runtime="LSP")

    assert (answer.status_code, answer.json()["type"]) == (400, "InvalidModelException")
    assert "C++ backend" in answer.json()["message"]
    assert (await served.management.get("/models/m")).status_code == 404


async def test_shows_what_an_archive_says(served: Served, make_mar: MakeMar) -> None:
    """Numbers of sequences wherever an idle time is said; no GPUs where there are none."""
    config = (
        "maxBatchDelay: 7\nresponseTimeout: 33\nstartupTimeout: 44\nmaxRetryTimeoutInSec: 55\n"
        "clientTimeoutInMills: 6000\njobQueueSize: 66\nuseJobTicket: true\n"
        "sequenceMaxIdleMSec: 77\nsequenceTimeoutMSec: 88\nmaxSequenceJobQueueSize: 9\n"
        "maxNumSequence: 11\ndeviceType: gpu\ndeviceIds: [0, 1]\n"
    )
    make_mar("m.mar", "m", config=config)
    await served.register("m.mar")
    (model,) = (await served.management.get("/models/m")).json()

    assert [model[key] for key in KEYS[7:15]] == [7, 33, 44, 55, 6000, "", 0, "cpu"]
    assert "deviceIds" not in model
    assert [model[key] for key in KEYS[15:23]] == [False, True, False, False, 77, 88, 11, 9]
    assert model["jobQueueStatus"]["remainingCapacity"] == 66


REFUSALS = [
    ({}, failed(400, "BadRequestException", "Parameter url is required.")),
    ({"url": ""}, failed(404, "ModelNotFoundException", "empty url")),
    ({"url": "no.mar"}, failed(404, "ModelNotFoundException", "Model not found at: no.mar")),
    ({"url": "/"}, failed(404, "ModelNotFoundException", "Model not found at: /")),
    ({"url": "s3://b/m"}, failed(404, "ModelNotFoundException", "Model not found at: s3://b/m")),
    (
        {"url": "../no.mar"},
        failed(404, "ModelNotFoundException", "Relative path is not allowed in url: ../no.mar"),
    ),
    (
        {"url": "noop.mar", "runtime": "ruby"},
        failed(400, "BadRequestException", "Invalid RuntimeType value: ruby"),
    ),
    (
        {"url": "https://elsewhere.test/noop.mar"},
        failed(500, "InternalServerException", "Model file already exists noop.mar"),
    ),
    (
        {"url": "file:///nowhere/at-all.mar"},
        failed(
            400,
            "DownloadArchiveException",
            "Failed to download archive from: file:///nowhere/at-all.mar",
        ),
    ),
    (
        {"url": "noop.mar"},
        failed(
            409,
            "ConflictStatusException",
            "Model version 1.0 is already registered for model noop",
        ),
    ),
    (
        {"url": "broken.mar"},
        failed(
            500,
            "InternalServerException",
            "Failed to start workers for model broken version: 1.0",
        ),
    ),
    (
        {"url": "greedy.mar"},
        failed(
            507,
            "InternalServerException",
            "Failed to start workers for model greedy version: 1.0",
        ),
    ),
]


@pytest.mark.parametrize(("parameters", "answer"), REFUSALS)
async def test_refuses_in_torchserves_words(
    served: Served,
    make_mar: MakeMar,
    parameters: dict[str, str],
    answer: tuple[int, object],
) -> None:
    """And leaves nothing behind: the same again is refused for the same reason."""
    make_mar("broken.mar", "broken")
    make_mar("greedy.mar", "greedy")
    for _ in range(2):
        given = await served.management.post(
            "/models", params={"initial_workers": "1", **parameters}
        )
        assert (given.status_code, given.json()) == answer
    listed = (await served.management.get("/models")).json()["models"]
    assert [each["modelName"] for each in listed] == ["noop"]


async def test_refuses_an_archive_that_is_none(served: Served, store: Path) -> None:
    """Whatever is wrong with it is told."""
    (store / "junk.mar").write_bytes(b"this is no zip")
    answer = await served.register("junk.mar")

    assert answer.status_code == 400
    assert answer.json()["type"] == "InvalidModelException"


async def test_undoes_a_registration_that_takes_too_long(served: Served, make_mar: MakeMar) -> None:
    """The model is gone, and can be registered again."""
    make_mar("slow.mar", "slow")
    answer = await served.register("slow.mar", startup_timeout=1)
    gone = await served.management.get("/models/slow")
    handlers.release.set()
    again = await served.register("slow.mar")

    assert answer.json()["message"] == "Failed to start workers for model slow version: 1.0"
    assert (gone.status_code, again.status_code) == (404, 200)


@pytest.mark.parametrize("where", ["archive", "properties", "registration"])
async def test_kills_a_worker_that_does_not_answer_in_time(
    serve: Serve, make_mar: MakeMar, where: str
) -> None:
    """`responseTimeout`: its caller is told, it is started anew, and others go on."""
    make_mar("noop.mar", config="responseTimeout: 1\n" if where == "archive" else None)
    make_mar("other.mar", "other")
    served = await serve(default_response_timeout_s=1 if where == "properties" else 120)
    await served.register("other.mar", response_timeout=60)
    await served.register(
        "noop.mar", **({"response_timeout": 1} if where == "registration" else {})
    )
    orchestrator = served.frontend.service.orchestrator
    hung, other = await asyncio.gather(
        served.inference.post("/predictions/noop", headers={"do": "hang"}),
        served.inference.post("/predictions/other"),
    )
    again = await served.inference.post("/predictions/noop")

    assert (hung.status_code, hung.json()) == failed(500, "InternalServerException", "Worker died.")
    assert (other.status_code, again.status_code) == (200, 200)
    restarts = [orchestrator.model(each).replicas[0].restarts for each in ("noop", "other")]
    assert restarts == [1, 0]


async def test_tells_why_packages_cannot_be_installed(
    serve: Serve, make_mar: MakeMar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With `install_py_dep_per_model`: before there is a worker, and nothing is left."""

    def install(folder: Path, file: Path, *, model: str, has_venv: bool) -> None:
        name = "venv" if has_venv else "pip"
        raise ModelLoadError(f"{name} failed for {model}: {file.relative_to(folder)}")

    monkeypatch.setattr(preparation, "install", install)
    make_mar("needy.mar", "needy", requirementsFile="r.txt", config="useVenv: true\n")
    make_mar("noop.mar")
    served = await serve(install_py_dep_per_model=True)
    answer = await served.register("needy.mar")
    gone = await served.management.get("/models/needy")
    other = await served.register("noop.mar")

    assert (answer.status_code, answer.json()) == failed(
        400, "ModelException", "venv failed for needy: r.txt"
    )
    assert (gone.status_code, other.status_code) == (404, 200)


async def test_installs_once_for_a_model_that_has_no_worker_yet(
    serve: Serve, make_mar: MakeMar, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was installed stays for the worker that comes, and goes with the model."""
    installed: list[Path] = []
    monkeypatch.setattr(
        preparation, "install", lambda folder, *_, **__: installed.append(folder.parent)
    )
    make_mar("needy.mar", "needy", requirementsFile="r.txt")
    served = await serve(install_py_dep_per_model=True, default_workers_per_model=0)
    registered = await served.management.post("/models?url=needy.mar")
    (root,) = installed
    there = [path for path in root.iterdir() if path.is_dir()]
    await served.management.put("/models/needy?min_worker=1&synchronous=true")
    await served.management.delete("/models/needy")
    gone = [path for path in root.iterdir() if path.is_dir()]
    await served.management.post("/models?url=needy.mar")
    await served.management.delete("/api/models/needy")
    await served.management.get("/models")  # sees that it is gone
    await served.frontend.registration.close()

    assert "registered with 0 initial workers" in registered.json()["status"]
    assert len(there) == 1
    assert gone == [path for path in root.iterdir() if path.is_dir()] == []


async def test_takes_no_models_where_the_model_api_is_off(serve: Serve, make_mar: MakeMar) -> None:
    """Neither by TorchServe's routes nor by native ones; scaling stays."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), enable_model_api=False)
    register = await served.register("noop.mar")
    remove = await served.management.delete("/models/noop")
    native = await served.management.post("/api/models", content=b"name: x")
    scaled = await served.management.put("/models/noop?min_worker=2&synchronous=true")

    assert (register.status_code, remove.status_code) == (405, 405)
    assert register.json()["type"] == "MethodNotAllowedException"
    assert native.status_code == 404
    assert scaled.status_code == 200


async def test_lists_a_page_at_a_time(serve: Serve, make_mar: MakeMar) -> None:
    """By name; the last page names no next one."""
    for name in ("c", "a", "b"):
        make_mar(f"{name}.mar", name)
    served = await serve(load_models=("all",))

    async def get(query: str) -> object:
        return (await served.management.get(f"/models{query}")).json()

    a, b, c = ({"modelName": n, "modelUrl": f"{n}.mar"} for n in "abc")
    assert await get("?limit=2") == {"nextPageToken": "2", "models": [a, b]}
    assert await get("?limit=2&next_page_token=2") == {"models": [c]}
    for query in ("", "?limit=101", "?limit=-1", "?limit=x", "?next_page_token=-5"):
        assert await get(query) == {"models": [a, b, c]}


KEYS = [
    "modelName",
    "modelVersion",
    "modelUrl",
    "runtime",
    "minWorkers",
    "maxWorkers",
    "batchSize",
    "maxBatchDelay",
    "responseTimeout",
    "startupTimeout",
    "maxRetryTimeoutInSec",
    "clientTimeoutInMills",
    "parallelType",
    "parallelLevel",
    "deviceType",
    "continuousBatching",
    "useJobTicket",
    "useVenv",
    "stateful",
    "sequenceMaxIdleMSec",
    "sequenceTimeoutMSec",
    "maxNumSequence",
    "maxSequenceJobQueueSize",
    "loadedAtStartup",
    "workers",
    "jobQueueStatus",
]


async def test_describes_a_model(served: Served) -> None:
    """All keys in TorchServe's order, with its defaults."""
    answer = await served.management.get("/models/noop")
    (model,) = answer.json()

    assert list(model) == KEYS
    assert model["modelUrl"] == "noop.mar"
    assert (model["runtime"], model["deviceType"], model["loadedAtStartup"]) == (
        "python",
        "cpu",
        True,
    )
    assert (model["responseTimeout"], model["maxRetryTimeoutInSec"]) == (120, 300)
    assert model["jobQueueStatus"] == {"remainingCapacity": 100, "pendingRequests": 0}
    (worker,) = model["workers"]
    assert list(worker) == ["id", "startTime", "status", "memoryUsage", "pid", "gpu", "gpuUsage"]
    assert (worker["id"], worker["status"], worker["gpuUsage"]) == ("9000", "READY", "N/A")


async def test_describes_versions(served: Served, make_mar: MakeMar) -> None:
    """One, the default one, or all."""
    make_mar("two.mar", version="2.0")
    await served.register("two.mar")

    async def get(path: str) -> list[str]:
        return [m["modelVersion"] for m in (await served.management.get(path)).json()]

    assert await get("/models/noop") == ["1.0"]
    assert await get("/models/noop/2.0") == ["2.0"]
    assert await get("/models/noop/all") == ["1.0", "2.0"]
    unknown = await served.management.get("/models/noop/3.0")
    assert (unknown.status_code, unknown.json()) == failed(
        404,
        "ModelVersionNotFoundException",
        "Model version: 3.0 does not exist for model: noop",
    )


async def test_asks_a_handler_what_it_says_of_itself(served: Served, make_mar: MakeMar) -> None:
    """What is no document says nothing; who has no worker cannot say anything."""
    make_mar("knowing.mar", "knowing")
    await served.register("knowing.mar")
    knowing = await served.management.get("/models/knowing?customized=true")
    silent = await served.management.get("/models/noop?customized=true")
    await served.management.put("/models/noop?min_worker=0&synchronous=true")
    mute = await served.management.get("/models/noop?customized=true")

    assert knowing.json()[0]["customizedMetadata"] == {"knows": ["cats"]}
    assert knowing.headers["content-type"] == "application/json"
    assert (knowing.status_code, knowing.reason_phrase) == (200, "")
    assert silent.json()[0]["customizedMetadata"] == {}
    assert (mute.status_code, mute.json()) == failed(
        503,
        "ServiceUnavailableException",
        'Model "noop" has no worker to serve describe request. Please use scale workers API to '
        "add workers.",
    )


async def test_lets_a_handler_decide_how_it_is_described(served: Served) -> None:
    """It sees the request's headers; status, phrase and headers are its own, not the type."""
    path = "/models/noop?customized=true"
    own = await served.management.get(path, headers={"do": "headers"})
    stout = await served.management.get(path, headers={"do": "status 418"})

    assert (own.headers["x-own"], own.headers["content-type"]) == ("yes", "application/json")
    assert (stout.status_code, stout.json()[0]["modelName"]) == (418, "noop")


SCALINGS = [
    ("/models/noop?min_worker=2", said("Processing worker updates...", 202)),
    (
        "/models/noop?min_worker=2&synchronous=true",
        said("Workers scaled to 2 for model: noop"),
    ),
    (
        "/models/noop/1.0?min_worker=2&max_worker=3&synchronous=true",
        said("Workers scaled to 2 for model: noop, version: 1.0"),
    ),
    ("/models/noop?synchronous=true", said("Workers scaled to 1 for model: noop")),
    (
        "/models/noop?min_worker=3&max_worker=2",
        failed(400, "BadRequestException", "max_worker cannot be less than min_worker."),
    ),
    ("/models/none", failed(404, "ModelNotFoundException", "Model not found: none")),
]


@pytest.mark.parametrize(("path", "answer"), SCALINGS)
async def test_scales_a_model(served: Served, path: str, answer: tuple[int, object]) -> None:
    """In the background, or before the answer."""
    given = await served.management.put(path)

    assert (given.status_code, given.json()) == answer


async def test_keeps_the_numbers_of_workers(served: Served) -> None:
    """Each place has its own; those that come later have higher ones."""

    async def ids() -> list[str]:
        (model,) = (await served.management.get("/models/noop")).json()
        return [worker["id"] for worker in model["workers"]]

    await served.management.put("/models/noop?min_worker=3&synchronous=true")
    assert await ids() == ["9000", "9001", "9002"]
    await served.management.put("/models/noop?min_worker=1&synchronous=true")
    assert await ids() == ["9000"]
    await served.management.put("/models/noop?min_worker=2&synchronous=true")
    assert await ids() == ["9000", "9003"]


async def test_keeps_to_the_least_of_workers_whatever_the_load(
    serve: Serve, make_mar: MakeMar
) -> None:
    """As TorchServe does, where `maxWorkers` is a bound of requests and no goal."""
    make_mar("noop.mar", config="minWorkers: 1\nmaxWorkers: 4")
    served = await serve(load_models=("noop.mar",))
    await served.management.put("/models/noop?min_worker=2&max_worker=3&synchronous=true")
    (model,) = (await served.management.get("/models/noop")).json()

    assert (model["minWorkers"], model["maxWorkers"], len(model["workers"])) == (2, 3, 2)
    (status,) = served.frontend.service.orchestrator.models()
    assert not status.policy.is_elastic


async def test_lets_the_number_of_workers_follow_the_load_where_it_is_asked_to(
    serve: Serve, make_mar: MakeMar
) -> None:
    """The switch is ours: bounds are the archive's, then those of the request."""
    make_mar("noop.mar", config="minWorkers: 1\nmaxWorkers: 2")
    served = await serve(load_models=("noop.mar",), autoscale=True)
    quick = {"replicas": {"min": 1, "max": 2, "wait_s": 0, "idle_s": 0.1}}
    await served.management.patch("/api/models/noop", json=quick)

    async def workers() -> list[str]:
        (model,) = (await served.management.get("/models/noop")).json()
        return [each["id"] for each in model["workers"] if each["status"] == "READY"]

    async def wait_for(count: int) -> list[str]:
        async with asyncio.timeout(20):
            while len(ids := await workers()) != count:  # noqa: ASYNC110 - a server is asked
                await asyncio.sleep(0.01)
        return ids

    async def burst() -> list[int]:
        asking = (
            served.inference.get("/predictions/noop", headers={"do": "hang"}) for _ in range(4)
        )
        return [answer.status_code for answer in await asyncio.gather(*asking)]

    first = asyncio.create_task(burst())
    assert await wait_for(2) == ["9000", "9001"]
    handlers.release.set()
    assert await first == [200] * 4
    assert await wait_for(1) == ["9000"]

    handlers.release.clear()
    scaled = await served.management.put("/models/noop?min_worker=1&max_worker=3&synchronous=true")
    assert scaled.json() == {"status": "Workers scaled to 1 for model: noop"}
    second = asyncio.create_task(burst())
    await wait_for(3)
    fixed = await served.management.put("/models/noop?min_worker=3&synchronous=true")
    handlers.release.set()
    assert await second == [200] * 4
    assert fixed.status_code == 200
    (model,) = (await served.management.get("/models/noop")).json()
    assert (model["minWorkers"], model["maxWorkers"], len(model["workers"])) == (3, 3, 3)


async def test_has_no_worker_until_there_is_a_request_where_it_is_asked_to(
    serve: Serve, make_mar: MakeMar
) -> None:
    """From none, with the switch: healthy all the same, and the first request loads one."""
    make_mar("noop.mar")
    served = await serve(load_models=("noop.mar",), autoscale=True)
    quick = {"replicas": {"min": 0, "max": 1, "idle_s": 0.1}}
    await served.management.patch("/api/models/noop", json=quick)
    none = await served.management.put("/models/noop?min_worker=0&max_worker=1&synchronous=true")
    async with asyncio.timeout(20):
        while (await served.management.get("/models/noop")).json()[0]["workers"]:  # noqa: ASYNC110 - the same
            await asyncio.sleep(0.01)
    health = await served.inference.get("/ping")
    answer = await served.inference.get("/predictions/noop")

    assert none.json() == {"status": "Workers scaled to 0 for model: noop"}
    assert health.json() == {"status": "Healthy"}
    assert answer.status_code == 200


async def test_gives_no_number_of_a_worker_twice(served: Served, make_mar: MakeMar) -> None:
    """Also where nobody asked for it: those that failed have had theirs, as have others."""
    make_mar("broken.mar", "broken")
    make_mar("other.mar", "other")
    make_mar("later.mar", "later")
    for archive in ("broken.mar", "other.mar", "later.mar"):
        await served.register(archive)
    (later,) = (await served.management.get("/models/later")).json()

    assert [worker["id"] for worker in later["workers"]] == ["9003"]


async def test_refuses_a_scaling_below_zero(served: Served) -> None:
    """TorchServe fails there, by an index out of bounds; here it is the caller's fault."""
    answer = await served.management.put("/models/noop?min_worker=-1&synchronous=true")

    assert (answer.status_code, answer.json()["type"]) == (400, "BadRequestException")


async def test_gives_a_shadow_copies_of_predictions(serve: Serve, make_mar: MakeMar) -> None:
    """Set by the native API; a version that becomes the default is a shadow no more."""
    make_mar("one.mar", version="1.0")
    make_mar("two.mar", version="2.0")
    served = await serve(load_models=("one.mar",))
    await served.register("two.mar")
    body = {"weights": {"1": 1}, "shadow": {"version": 2, "percent": 100}}
    split = await served.management.put("/api/models/noop/traffic", json=body)
    orchestrator = served.frontend.service.orchestrator

    def counts() -> dict[str, float]:
        series = [s for s in orchestrator.snapshot() if s.metric.name == "shadow_tasks"]
        return {" ".join(each.labels[1:]): each.value for each in series}

    answers = [
        await served.inference.get(path, headers={"do": "status 418"})
        for path in ("/predictions/noop", "/predictions/noop/1.0", "/predictions/noop/2.0")
    ]
    async with asyncio.timeout(20):
        while counts() != {"1 served done": 2, "2 shadow done": 2}:  # noqa: ASYNC110 - threads work
            await asyncio.sleep(0.01)
    make_mar("three.mar", version="3.0")
    await served.register("three.mar")
    assert orchestrator.model_shadow("noop") is not None
    await served.management.put("/models/noop/2.0/set-default")

    assert split.status_code == 200
    assert [answer.status_code for answer in answers] == [418] * 3
    assert orchestrator.model_shadow("noop") is None


async def test_sets_the_default_version(served: Served, make_mar: MakeMar) -> None:
    """Requests that name no version go there, natively too."""
    make_mar("two.mar", version="2.0")
    await served.register("two.mar")

    async def asked() -> list[str]:
        return (await served.inference.get("/predictions/noop")).json()["model"]

    async def asked_natively() -> int:
        body = {"inputs": {"body": ""}}
        return (await served.inference.post("/api/models/noop/predict", json=body)).json()[
            "version"
        ]

    assert (await asked(), await asked_natively()) == (["noop", "1.0"], 1)
    answer = await served.management.put("/models/noop/2.0/set-default")
    assert (answer.status_code, answer.json()) == said(
        'Default version successfully updated for model "noop" to "2.0"'
    )
    assert (await asked(), await asked_natively()) == (["noop", "2.0"], 2)
    unknown = await served.management.put("/models/noop/3.0/set-default")
    assert (unknown.status_code, unknown.json()) == failed(
        404,
        "ModelVersionNotFoundException",
        "Model version 3.0 does not exist for model noop",
    )


async def test_removes_versions(served: Served, make_mar: MakeMar) -> None:
    """The default one only when it is the last."""
    make_mar("two.mar", version="2.0")
    await served.register("two.mar")
    for path in ("/models/noop", "/models/noop/1.0"):
        refused = await served.management.delete(path)
        assert (refused.status_code, refused.json()) == failed(
            403,
            "InvalidModelVersionException",
            "Cannot remove default version for model noop",
        )
    for path in ("/models/noop/2.0/", "/models/noop"):
        removed = await served.management.delete(path)
        assert (removed.status_code, removed.json()) == said('Model "noop" unregistered')
    gone = await served.management.delete("/models/noop")
    assert (gone.status_code, gone.json()) == failed(
        404, "ModelNotFoundException", "Model not found: noop"
    )
    assert (await served.register("two.mar")).status_code == 200


async def test_tells_kserve_whether_a_model_is_ready(served: Served) -> None:
    """It is where it has workers."""
    ready = await served.management.get("/v1/models/noop")
    await served.management.put("/models/noop?min_worker=0&synchronous=true")
    empty = await served.management.get("/v1/models/noop")

    assert ready.json() == {"name": "noop", "ready": True}
    assert empty.json() == {"name": "noop", "ready": False}
    assert (await served.management.get("/v1/models/none")).status_code == 404
    assert (await served.management.post("/v1/models/noop")).status_code == 405


async def test_refuses_methods_that_there_are_not(served: Served) -> None:
    """And paths that are none."""
    for method, path, status in (
        ("POST", "/models/noop", 405),
        ("PATCH", "/models", 405),
        ("DELETE", "/models/noop/1.0/set-default", 405),
        ("GET", "/predictions/noop", 404),
        ("GET", "/token", 404),
        ("GET", "/", 405),
    ):
        answer = await served.management.request(method, path)
        assert (method, path, answer.status_code) == (method, path, status)


async def test_describes_itself(served: Served) -> None:
    """The port, and each model."""
    port = (await served.management.options("/")).json()
    model = (await served.management.options("/models/noop")).json()
    version = (await served.management.options("/models/noop/1.0")).json()
    described = await served.management.get("/models/noop/1.0/set-default")

    own = {
        "get /models/{model_name}": "describeModel",
        "put /models/{model_name}": "setAutoScale",
        "delete /models/{model_name}": "unregisterModel",
        "get /models/{model_name}/{model_version}": "version_describeModel",
        "put /models/{model_name}/{model_version}": "version_setAutoScale",
        "delete /models/{model_name}/{model_version}": "version_unregisterModel",
        "put /models/{model_name}/{model_version}/set-default": "setDefault",
    }
    assert ids_of(model) == own
    assert ids_of(port) == {
        "options /": "apiDescription",
        "get /models": "listModels",
        "post /models": "registerModel",
        **own,
        "get /api-description": "api-description",
        "get /metrics": "metrics",
    }
    assert model["info"]["title"] == "RESTful Management API for: noop"
    assert version == model
    assert described.json() == (await served.management.get("/models/noop")).json()


async def test_serves_handlers_of_the_native_registry(served: Served, make_mar: MakeMar) -> None:
    """One registry: what the native API registers is a model here, and goes with it."""
    folder = served.frontend.service.settings.store_folder / "files"
    folder.mkdir(parents=True)
    make_mar("native.mar", "native").rename(folder / "native.mar")
    text = "name: native\nversion: 3\nkind: handler\nsource: native.mar\nmodel_version: '3.1'\n"
    added = await served.management.post(
        "/api/models", content=text, headers={"content-type": "application/yaml"}
    )
    listed = (await served.management.get("/models")).json()["models"]
    asked = await served.inference.get("/predictions/native/3.1")

    assert added.status_code == 201
    assert [each["modelName"] for each in listed] == ["native", "noop"]
    assert asked.json()["model"] == ["native", "3.1"]
    await served.management.delete("/api/models/native")
    assert (await served.inference.get("/predictions/native")).status_code == 404


class _Files(http.server.BaseHTTPRequestHandler):
    """Gives one archive, and leads from `/moved` to it, from `/away` elsewhere."""

    archive = b""

    def do_GET(self) -> None:
        """Answer."""
        leads = {"/moved/far.mar": "/far.mar", "/away/far.mar": "http://other.test/far.mar"}
        if self.path in leads:
            self.send_response(302)
            self.send_header("location", leads[self.path])
            self.end_headers()
        elif self.path == "/far.mar":
            self.send_response(200)
            self.end_headers()
            self.wfile.write(self.archive)
        else:
            self.send_error(404)

    def log_message(self, *words: object) -> None:
        """Say nothing."""


@pytest.fixture
def files(make_mar: MakeMar) -> Iterator[str]:
    """Serve an archive from another place."""
    path = make_mar("far.mar", "far")
    _Files.archive = path.read_bytes()
    path.unlink()
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Files)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


async def test_fetches_an_archive(serve: Serve, store: Path, files: str) -> None:
    """It lies in the model store as long as its model is there."""
    served = await serve(allowed_urls=(r"http://127\.0\.0\.1.*",))
    answer = await served.register(f"{files}/moved/far.mar")

    assert answer.json()["status"] == 'Model "far" Version: 1.0 registered with 1 initial workers'
    assert (store / "far.mar").exists()
    (model,) = (await served.management.get("/models/far")).json()
    assert model["modelUrl"] == f"{files}/moved/far.mar"
    await served.management.delete("/models/far")
    assert names_in(store) == []


@pytest.mark.parametrize("path", ["/none/far.mar", "/none/x.mar"])
async def test_tells_of_a_download_that_fails(
    serve: Serve, store: Path, files: str, path: str
) -> None:
    """Nothing stays in the model store."""
    served = await serve(allowed_urls=(r"http://127\.0\.0\.1.*",))
    answer = await served.register(f"{files}{path}")

    assert (answer.status_code, answer.json()) == failed(
        400, "DownloadArchiveException", f"Failed to download archive from: {files}{path}"
    )
    assert names_in(store) == []


@pytest.mark.parametrize("allowed", [r"http://127\.0\.0\.1.*", r"file://.*|http(s)?://.*"])
async def test_fetches_only_from_where_it_may(serve: Serve, files: str, allowed: str) -> None:
    """Not where a redirect leads elsewhere, nor within the network unless the operator says so."""
    served = await serve(allowed_urls=(allowed,))
    url = f"{files}/away/far.mar"
    answer = await served.register(url)

    assert (answer.status_code, answer.json()) == failed(
        400, "DownloadArchiveException", f"Failed to download archive from: {url}"
    )


async def test_has_all_on_one_port_where_addresses_are_equal(
    serve: Serve, make_mar: MakeMar, free_port: int
) -> None:
    """And describes a version there, which TorchServe does not find."""
    make_mar("noop.mar")
    place = f"http://127.0.0.1:{free_port}"
    served = await serve(
        load_models=("noop.mar",),
        inference_address=place,
        management_address=place,
        metrics_address=place,
    )
    for path in ("/ping", "/models/noop/1.0", "/predictions/noop", "/metrics", "/v1/models/noop"):
        assert (await served.inference.get(path)).status_code == 200
    assert (await served.inference.get("/v1/models")).json()["object"] == "list"


async def test_opens_no_metrics_port_where_it_is_told_not_to(serve: Serve) -> None:
    """Two ports are left."""
    served = await serve(enable_metrics_api=False)

    assert set(served.urls) == {"inference", "management"}


@pytest.mark.parametrize(("mode", "is_empty"), [("log", True), ("prometheus", False)])
async def test_answers_for_metrics(serve: Serve, mode: str, *, is_empty: bool) -> None:
    """With nothing where metrics go to logs."""
    served = await serve(metrics_mode=mode)
    answer = await served.metrics.get("/metrics")

    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"
    assert (answer.content == b"") is is_empty
    assert (await served.metrics.get("/other")).status_code == 404
    assert (await served.metrics.options("/")).json()["paths"].keys() == {"/metrics"}


async def test_gives_sequences_as_many_workers_as_any(serve: Serve, make_mar: MakeMar) -> None:
    """From the archive, or as it is scaled."""
    make_mar("sums.mar", "sums", config="sequenceBatching: true\nminWorkers: 2\nmaxWorkers: 2\n")
    served = await serve()
    registered = await served.register("sums.mar")
    scaled = await served.management.put("/models/sums?min_worker=3&synchronous=true")
    (shown,) = (await served.management.get("/models/sums")).json()

    assert registered.status_code == 200
    assert scaled.json() == {"status": "Workers scaled to 3 for model: sums"}
    assert (shown["minWorkers"], len(shown["workers"])) == (3, 3)
    assert (await served.inference.get("/ping")).status_code == 200
