"""A closed-loop HTTP load: N clients, each sending its next request after the last answer.

Runs as a process of its own (`python -m benchmarks.load …`) and prints one JSON object. Keep-alive
connections over raw asyncio protocols, so that the client costs little next to a server. Knows no
endpoint: method, path and body are given.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from urllib.parse import urlsplit

import uvloop


_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """What a load measured. Times in seconds."""

    clients: int
    requests: int
    errors: int
    per_s: float
    p50_s: float
    p99_s: float


class _Client(asyncio.Protocol):
    """One connection: sends the request again whenever an answer is complete."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self._buffer = b""
        self._sent = 0.0
        self.latencies: list[float] = []
        self.errors = 0
        self.is_over = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._send()

    def connection_lost(self, _: Exception | None) -> None:
        if not self.is_over:
            self.errors += 1

    def _send(self) -> None:
        self._sent = time.perf_counter()
        self._transport.write(self._request)  # type: ignore[attr-defined]  # a stream's transport

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, separator, body = self._buffer.partition(b"\r\n\r\n")
        if not separator:
            return
        length = _LENGTH.search(head)
        if length is None or len(body) < int(length[1]):
            return
        self.latencies.append(time.perf_counter() - self._sent)
        self.errors += not head.startswith(b"HTTP/1.1 200")
        self._buffer = b""
        if self.is_over:
            self._transport.close()
        else:
            self._send()


async def drive(url: str, body: bytes, *, clients: int, seconds: float, warmup_s: float) -> Load:
    """Load a URL with POSTs of `body` and measure after the warm-up."""
    parts = urlsplit(url)
    host = f"{parts.hostname}:{parts.port}"
    head = f"POST {parts.path} HTTP/1.1\r\nHost: {host}\r\nContent-Type: application/json\r\n"
    request = (
        f"{head}Accept: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
    )
    loop = asyncio.get_running_loop()
    protocols = []
    for _ in range(clients):
        connection = loop.create_connection(lambda: _Client(request), parts.hostname, parts.port)
        protocols.append((await connection)[1])
    await asyncio.sleep(warmup_s)
    for protocol in protocols:
        protocol.latencies.clear()
    began = time.perf_counter()
    await asyncio.sleep(seconds)
    took = time.perf_counter() - began
    latencies = sorted(value for protocol in protocols for value in protocol.latencies)
    for protocol in protocols:
        protocol.is_over = True
    await asyncio.sleep(0.1)
    count = len(latencies)
    return Load(
        clients=clients,
        requests=count,
        errors=sum(protocol.errors for protocol in protocols),
        per_s=count / took,
        p50_s=latencies[count // 2] if count else float("nan"),
        p99_s=latencies[min(int(count * 0.99), count - 1)] if count else float("nan"),
    )


def measure(
    url: str, body: object, *, clients: int, seconds: float = 3.0, warmup_s: float = 0.5
) -> Load:
    """Load a URL from a process of its own."""
    command = [sys.executable, "-m", "benchmarks.load", url, json.dumps(body)]
    numbers = ["--clients", str(clients), "--seconds", str(seconds), "--warmup", str(warmup_s)]
    result = subprocess.run(
        [*command, *numbers], check=True, capture_output=True, timeout=seconds + warmup_s + 60
    )
    return Load(**json.loads(result.stdout))


def main() -> None:
    """Read the command line, load, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("url")
    parser.add_argument("body", help="JSON")
    parser.add_argument("--clients", type=int, default=1)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--warmup", type=float, default=0.5)
    options = parser.parse_args()
    load = uvloop.run(
        drive(
            options.url,
            options.body.encode(),
            clients=options.clients,
            seconds=options.seconds,
            warmup_s=options.warmup,
        )
    )
    print(json.dumps(asdict(load)))


if __name__ == "__main__":
    main()
