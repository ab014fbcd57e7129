"""Language models as workers open them: what a worker holds is the engine that serves."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from pathlib import Path

import pytest

from torchloom.deployment import Deployment
from torchloom.device import Device
from torchloom.executor import LocalExecutor
from torchloom.wire import AnyFrame, Broken, Close, Ready


pytestmark = pytest.mark.slow

pytest.importorskip("openvino")

_MIB = 1024**2


async def start(config: dict[str, object], device: str = "auto") -> Ready:
    """Start a worker until it is ready, and end it."""
    opened: asyncio.Future[AnyFrame] = asyncio.get_running_loop().create_future()

    def hear(frames: Iterable[AnyFrame]) -> None:
        for frame in frames:
            if isinstance(frame, Ready | Broken):
                opened.set_result(frame)

    factory = "torchloom_models.llm.opening:open_engine"
    deployment = Deployment(name="llama", kind="llm", factory=factory, config=config)
    link = await LocalExecutor().start(deployment, Device.parse(device), hear, lambda _: None)
    frame = await opened
    link.send(Close())
    await link.wait()
    assert isinstance(frame, Ready), frame
    return frame


async def test_holds_nothing_of_the_devices_that_were_tried(llama: Path, tmp_path: Path) -> None:
    """The start that measures ends with the memory of one that does not.

    Left in the worker, what the loser of a tiny Llama has loaded takes some 70 MiB.
    """
    config = {"source": str(llama), "artefacts": str(tmp_path), "max_sequences": 2}

    first, second = await start(config), await start(config)

    assert first.device == second.device
    assert " ms, " in first.notes[0]
    assert second.notes == [f"{first.notes[0]} (measured at an earlier start)"]
    assert 0 < first.memory_bytes < second.memory_bytes + 32 * _MIB


async def test_holds_the_cache_that_it_sets_aside(llama: Path, tmp_path: Path) -> None:
    """Before anything is written to it, and beside what the process has grown by."""
    config = {"source": str(llama), "artefacts": str(tmp_path), "compile": "eager"}
    stated = {**config, "kv_cache": {"memory": "1GiB"}}

    plain, large = await start(config, "cpu"), await start(stated, "cpu")

    # Of slots no more than sixteen of the model's length are made.
    assert large.memory_bytes < plain.memory_bytes + 64 * _MIB
    large = await start({**stated, "compile": "auto"}, "openvino:CPU")
    assert large.memory_bytes > 1024 * _MIB
