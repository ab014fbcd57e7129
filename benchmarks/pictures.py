"""Pictures through the server: `python -m benchmarks.pictures`.

An SDXL-shaped pipeline of a size that runs on two cores. Pictures per second for eight requests
that arrive apart, over one at a time; and eager, inductor and OpenVINO, with the time until ready.
"""

from __future__ import annotations

import argparse
import asyncio
import statistics
import tempfile
import time
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import httpx

from benchmarks.pipelines import make_sdxl
from benchmarks.report import Report, interleave, paired_ratio
from benchmarks.server import Server


REQUESTS = 8

#: Seconds between two arrivals.
APART_S = 0.1

STEPS = 4

#: Name → what the model file says.
SIDES = {
    "eager": "devices: [cpu]\ncompile: eager\n",
    "inductor": "devices: [cpu]\ncompile: inductor\n",
    "openvino": "devices: [openvino:CPU]\n",
}

_TIMEOUT_S = 600


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """How pictures are asked for."""

    num_steps: int = STEPS
    guidance: float = 1.0
    apart_s: float = APART_S


_ORDER = Order()


def model_yaml(name: str, dtype: str, says: str) -> str:
    """Write a model file."""
    return f"name: {name}\nkind: diffusion\nsource: ./sdxl\ndtype: {dtype}\n{says}"


async def draw(
    client: httpx.AsyncClient, name: str, seed: int, delay_s: float, order: Order
) -> None:
    """Draw one picture, after a while."""
    await asyncio.sleep(delay_s)
    inputs = {
        "prompt": f"the old mill by the river, {seed}",
        "seed": seed,
        "num_steps": order.num_steps,
        "guidance": order.guidance,
    }
    headers = {"Accept": "image/png"}
    answer = await client.post(
        f"/api/models/{name}/predict", json={"inputs": inputs}, headers=headers
    )
    answer.raise_for_status()


async def _draw_apart(url: str, name: str, count: int, order: Order) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S) as client:
        await asyncio.gather(
            *(draw(client, name, n, n * order.apart_s, order) for n in range(count))
        )


async def _draw_in_turn(url: str, name: str, count: int, order: Order) -> None:
    async with httpx.AsyncClient(base_url=url, timeout=_TIMEOUT_S) as client:
        for number in range(count):
            await draw(client, name, number, 0.0, order)


def seconds_apart(url: str, name: str, count: int, order: Order = _ORDER) -> float:
    """Give the seconds until pictures that were asked for one after another are all there."""
    began = time.perf_counter()
    asyncio.run(_draw_apart(url, name, count, order))
    return time.perf_counter() - began


def seconds_in_turn(url: str, name: str, count: int, order: Order = _ORDER) -> float:
    """Give the seconds for pictures that are asked for when the one before is there."""
    began = time.perf_counter()
    asyncio.run(_draw_in_turn(url, name, count, order))
    return time.perf_counter() - began


def compare(dtype: str, folder: Path, batching: Report, backends: Report) -> None:
    """Serve each side in a server of its own, and ask them in turn."""
    ready: dict[str, float] = {}
    urls: dict[str, str] = {}
    with ExitStack() as stack:
        for name, says in SIDES.items():
            file = folder / f"{name}-{dtype}.yaml"
            file.write_text(model_yaml(name, dtype, says), "utf-8")
            server = stack.enter_context(Server(file, store=folder / f"store-{name}-{dtype}"))
            ready[name], urls[name] = server.ready_s, server.url
        together = interleave(
            {name: partial(seconds_apart, url, name, REQUESTS) for name, url in urls.items()}
        )
        alone = interleave(
            {name: partial(seconds_in_turn, url, name, 1) for name, url in urls.items()}
        )
        in_turn = interleave(
            {name: partial(seconds_in_turn, url, name, REQUESTS) for name, url in urls.items()},
            repeats=3,
        )
    for name in SIDES:
        batching.add(
            f"{name}, {dtype}",
            REQUESTS / statistics.median(together[name]),
            REQUESTS / statistics.median(in_turn[name]),
            statistics.median(in_turn[name]) / statistics.median(together[name]),
        )
        backends.add(
            f"{name}, {dtype}",
            statistics.median(alone[name]),
            paired_ratio(alone[name], alone["eager"]),
            paired_ratio(together[name], together["eager"]),
            ready[name],
        )


def main() -> None:
    """Measure the dtypes that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dtypes", nargs="*", default=["float32", "bfloat16"])
    options = parser.parse_args()
    batching = Report(
        name="pictures",
        title=f"{REQUESTS} pictures of an SDXL-shaped pipeline, {STEPS} steps, through the server",
        columns=("", f"arriving {APART_S} s apart: /s", "one at a time: /s", "ratio"),
    )
    backends = Report(
        name="picture_backends",
        title="The same by backend: seconds for one picture, and over eager",
        columns=("", "one picture, s", "over eager", "eight over eager", "until ready, s"),
    )
    with tempfile.TemporaryDirectory() as text:
        folder = Path(text)
        count = make_sdxl(folder / "sdxl")
        batching.notes.append(f"The UNet has {count / 1e6:.0f} M parameters.")
        for dtype in options.dtypes:
            compare(dtype, folder, batching, backends)
    batching.finish()
    backends.finish()


if __name__ == "__main__":
    main()
