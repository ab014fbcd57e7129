"""TorchLoom's server under a load of text, over HTTP.

`python -m benchmarks.peers.served_load URL MODEL`; orders and answers are those of `token_load`.
Each request has a connection of its own, whose bytes are read as they come: a client that parses
all of it would take what the server needs.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from urllib.parse import urlsplit

from benchmarks.peers.token_load import Clock


class ServedLoad:
    """Sends requests to one model of a server."""

    def __init__(self, url: str, model: str) -> None:
        address = urlsplit(url)
        assert address.hostname
        assert address.port
        self._address = (address.hostname, address.port)
        self._model = model

    async def bear(self, order: Mapping[str, object]) -> dict[str, float]:
        """Send what is ordered; give the figures."""
        prompts, tokens = order["prompts"], order["tokens"]
        assert isinstance(prompts, list)
        assert isinstance(tokens, int)
        clock = Clock()
        arrivals = order.get("arrivals")
        turns = asyncio.Semaphore(int(str(order.get("clients", len(prompts)))))

        async def send(number: int) -> None:
            if isinstance(arrivals, list):
                await asyncio.sleep(arrivals[number] - clock.now_s)
            async with turns:
                clock.ask(number, arrivals[number] if isinstance(arrivals, list) else None)
                await self._ask(clock, number, prompts[number], tokens)

        async with asyncio.TaskGroup() as group:
            for number in range(len(prompts)):
                group.create_task(send(number))
        return clock.figures(len(prompts) * tokens)

    async def _ask(self, clock: Clock, number: int, prompt: str, tokens: int) -> None:
        params = {"max_tokens": tokens, "ignore_eos": True, "temperature": 0}
        body = json.dumps({"inputs": {"prompt": prompt}, "params": params}).encode()
        head = (
            f"POST /api/models/{self._model}/predict HTTP/1.1\r\nHost: benchmark\r\n"
            "Accept: text/event-stream\r\nContent-Type: application/json\r\n"
            f"Connection: close\r\nContent-Length: {len(body)}\r\n\r\n"
        )
        reader, writer = await asyncio.open_connection(*self._address)
        writer.write(head.encode() + body)
        is_answered = False
        async for line in reader:
            if line.startswith(b"event: predict.chunk"):
                clock.tell(number)
            elif line.startswith(b"event: predict.finished"):
                is_answered = True
        writer.close()
        if not is_answered:
            raise RuntimeError(f"Request {number} was not answered.")


def main() -> None:
    """Bear the loads that standard input orders, one a line."""
    load = ServedLoad(*sys.argv[1:])
    print(json.dumps({"ready": True}), flush=True)
    for line in sys.stdin:
        print(json.dumps(asyncio.run(load.bear(json.loads(line)))), flush=True)


if __name__ == "__main__":
    main()
