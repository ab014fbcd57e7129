"""Models of the start that fail: `/ping` tells of them until they serve, and they are retried."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from api_fakes import handlers
from api_fakes.torchserve import MakeMar, Serve, Served

from torchloom_api.torchserve import startup
from torchloom_api.torchserve.catalog import Served as ServedModel
from torchloom_api.torchserve.frontend import Frontend
from torchloom_api.torchserve.frontend_settings import StartupVersion
from torchloom_api.torchserve.registration import Order, Registration
from torchloom_api.torchserve.startup import retry_startup_models


_MOST_S = 30


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(startup, "_WAITS_S", (0.01,))


async def test_tries_each_version_of_a_name(serve: Serve, make_mar: MakeMar) -> None:
    """The success of one is none of the other's."""
    make_mar("a.mar", "m")
    make_mar("b.mar", "m", version="2.0")
    handlers.failing.add("a.mar")
    served = await serve(load_models=("m=a.mar", "m=b.mar"))
    failed = await _ping(served)
    async with _retrying(served.frontend):
        handlers.failing.clear()
        await _until(lambda: not served.frontend.absent)

    assert failed == 500
    assert await _versions(served, "m") == {"1.0", "2.0"}
    assert await _ping(served) == 200


async def test_waits_for_a_registration_that_still_loads(
    serve: Serve, make_mar: MakeMar, caplog: pytest.LogCaptureFixture
) -> None:
    """That one may fail: it is no model before it serves, and the retries go on after it."""
    make_mar("slow.mar", "m")
    handlers.failing.add("slow.mar")
    served = await serve(load_models=("slow.mar",))
    handlers.failing.clear()
    accepted = await served.register("slow.mar", synchronous="false")
    await asyncio.to_thread(handlers.begun.wait, _MOST_S)
    async with _retrying(served.frontend):
        await _until(lambda: "is already registered for model m" in caplog.text)
        meanwhile = await _ping(served)
        handlers.failing.add("slow.mar")
        handlers.release.set()
        await _until(lambda: "The handler raised after a while" in caplog.text)
        handlers.failing.clear()
        await _until(lambda: not served.frontend.absent)

    assert (accepted.status_code, meanwhile) == (202, 500)
    assert await _versions(served, "m") == {"1.0"}
    assert await _ping(served) == 200


async def test_lets_a_registration_be_that_has_come_first(serve: Serve, make_mar: MakeMar) -> None:
    """A conflict with what serves ends the retries: it is there."""
    make_mar("a.mar", "m")
    make_mar("b.mar", "m")
    served = await serve(load_models=("a.mar",))
    frontend = served.frontend
    frontend.absent.put(Order(url="b.mar"), 500)
    await asyncio.wait_for(retry_startup_models(frontend), _MOST_S)

    assert [each.url for each in frontend.catalog.versions("m")] == ["a.mar"]
    assert await _ping(served) == 200


_RESTORED = {"m": {"1.0": StartupVersion(file="x.mar")}}

#: Settings of the start, the name by which the mended archive is registered, and what becomes of
#: `/ping`.
_MENDED = [
    ({"load_models": ("x.mar",)}, None, 200),
    ({"load_models": ("x.mar",)}, "foo", 200),
    ({"load_models": ("m=x.mar",)}, "m", 200),
    ({"restored": _RESTORED}, "m", 200),
    ({"restored": _RESTORED}, "foo", 500),
]


@pytest.mark.parametrize(("settings", "name", "status"), _MENDED)
async def test_is_healthy_once_a_damaged_archive_is_registered_again(
    serve: Serve,
    make_mar: MakeMar,
    store: Path,
    settings: dict[str, object],
    name: str | None,
    status: int,
) -> None:
    """What is there counts, not the words by which it came; another model is another."""
    (store / "x.mar").write_bytes(b"no archive")
    served = await serve(**settings)
    damaged = await _ping(served)
    make_mar("x.mar", "noop")
    named = {} if name is None else {"model_name": name}
    registered = await served.register("x.mar", **named)

    assert (damaged, registered.status_code) == (500, 200)
    assert await _ping(served) == status


async def test_goes_on_where_the_archive_of_another_has_gone(
    serve: Serve, make_mar: MakeMar, store: Path
) -> None:
    """The orders of the start stay what they were; one fails for itself."""
    make_mar("a.mar", "a")
    make_mar("b.mar", "b")
    handlers.failing.update(("a.mar", "b.mar"))
    restored = {each: {"1.0": StartupVersion(file=f"{each}.mar")} for each in ("a", "b")}
    served = await serve(restored=restored)
    (store / "b.mar").unlink()
    async with _retrying(served.frontend):
        handlers.failing.clear()
        await _until(lambda: served.frontend.catalog.is_serving("a", "1.0"))

    assert [order.name for order, _ in served.frontend.absent] == ["b"]


async def test_goes_on_after_an_error_of_the_system(
    serve: Serve,
    make_mar: MakeMar,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """A full disk is told, and the models are tried again."""
    make_mar("a.mar", "a")
    handlers.failing.add("a.mar")
    served = await serve(load_models=("a.mar",))
    handlers.failing.clear()
    register, errors = Registration.register, [OSError("no space"), ValueError("a fault of ours")]

    async def fail_first(registration: Registration, order: Order) -> ServedModel:
        if errors:
            raise errors.pop()
        return await register(registration, order)

    monkeypatch.setattr(Registration, "register", fail_first)
    await asyncio.wait_for(retry_startup_models(served.frontend), _MOST_S)

    assert "no space" in caplog.text
    assert "a fault of ours" in caplog.text
    assert await _ping(served) == 200


async def test_tells_of_a_full_disk(
    serve: Serve,
    make_mar: MakeMar,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """An error of the system as a model loads is one of that model, and the log says which."""
    make_mar("a.mar", "a")
    served = await serve()

    async def fail(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(served.frontend.service.registrar, "add_model", fail)
    answer = await served.register("a.mar")

    assert answer.status_code == 500
    assert answer.json()["message"] == "Failed to start workers for model a version: 1.0"
    assert "a 1.0 is not registered: [Errno 28] No space left on device" in caplog.text


@pytest.mark.parametrize("chosen", [None, "3.0"])
async def test_brings_the_default_back(serve: Serve, make_mar: MakeMar, chosen: str | None) -> None:
    """A version that a snapshot calls the default is it once it has come, unless one is chosen."""
    versions = ("1.0", "2.0", "3.0")
    for version in versions:
        make_mar(f"{version}.mar", "m", version=version)
    handlers.failing.add("2.0.mar")
    restored = {
        version: StartupVersion(file=f"{version}.mar", is_default=version == "2.0")
        for version in versions
    }
    served = await serve(restored={"m": restored})
    if chosen is not None:
        await served.management.put(f"/models/m/{chosen}/set-default")
    async with _retrying(served.frontend):
        handlers.failing.clear()
        await _until(lambda: not served.frontend.absent)

    answer = await served.inference.get("/predictions/m")
    assert answer.json()["model"] == ["m", chosen or "2.0"]


@asynccontextmanager
async def _retrying(frontend: Frontend) -> AsyncIterator[None]:
    retrying = asyncio.create_task(retry_startup_models(frontend))
    try:
        yield
    finally:
        retrying.cancel()
        (outcome,) = await asyncio.gather(retrying, return_exceptions=True)
    assert outcome is None or isinstance(outcome, asyncio.CancelledError)


async def _until(is_so: Callable[[], object]) -> None:
    async with asyncio.timeout(_MOST_S):
        while not is_so():  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0.01)


async def _ping(served: Served) -> int:
    return (await served.inference.get("/ping")).status_code


async def _versions(served: Served, name: str) -> set[str]:
    described = (await served.management.get(f"/models/{name}/all")).json()
    return {each["modelVersion"] for each in described}
