"""Parts are sent as fast as the client reads, and only so many wait."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from torchloom.errors import TaskFailed
from torchloom.timings import Meter
from torchloom_api.exchange import Exchange
from torchloom_api.torchserve import part_queue as part_queue_module
from torchloom_api.torchserve.limits import Limits
from torchloom_api.torchserve.part_stream import PartStream
from torchloom_api.torchserve.prediction import Prediction
from torchloom_api.torchserve.reply import Reply


async def test_gives_up_where_too_much_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    """There are handlers that are faster than any client. What has been taken is still sent."""
    monkeypatch.setattr(part_queue_module, "_MAX_BYTES", 2500)
    reads = asyncio.Event()
    sent: list[bytes] = []
    failures: list[Exception] = []

    async def send(message: dict[str, Any]) -> None:
        await reads.wait()
        sent.append(message.get("body", b""))

    scope = {"type": "http", "path": "/", "headers": [], "http_version": "1.1", "method": "POST"}
    reply = Reply(Exchange(cast("Any", scope), cast("Any", None), cast("Any", send)), closes=False)
    parts = PartStream(reply, 10_000, failures.append)
    for number in range(10):
        parts.add({"data": {"body": b"%d" % number * 600}})
        await asyncio.sleep(0)
    flushing = asyncio.create_task(parts.flush())
    reads.set()
    await flushing
    parts.close()

    assert [each[:1] for each in sent if each] == [b"0", b"1", b"2"]
    assert len(failures) == 7
    assert "too slowly" in str(failures[0])


async def test_breaks_a_prediction_off_once_for_one_reason() -> None:
    """Several parts come in one turn of the event loop: its caller hears why, and nothing else."""
    forever = asyncio.Event()

    async def predict(*_: object, **__: object) -> dict[str, object]:
        await forever.wait()
        return {}

    frontend = SimpleNamespace(
        service=SimpleNamespace(orchestrator=SimpleNamespace(predict=predict))
    )
    served = SimpleNamespace(name="slow", number=1, limits=Limits())
    prediction = Prediction(cast("Any", frontend), cast("Any", served), {}, {}, Meter())
    running = asyncio.create_task(prediction.run(lambda _: None))
    await asyncio.sleep(0)
    prediction.break_off(TaskFailed("first"))
    prediction.break_off(TaskFailed("second"))

    with pytest.raises(TaskFailed, match="first"):
        await running
    assert not running.cancelling()
