"""`torchloom dev` and debugpy, spoken to as editors speak to it: by the Debug Adapter Protocol."""

from __future__ import annotations

import json
import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest

from benchmarks.server import free_port


pytest.importorskip("debugpy")
pytestmark = pytest.mark.slow

HANDLER = """\
def handle(data, context):
    if data is None:
        return None
    answer = "answer 1"
    return len(data) * [answer]
"""

#: The line that the tests stop at.
LINE = 5


class Adapter:
    """One session with a debug adapter."""

    def __init__(self, connection: socket.socket, attach: dict[str, object]) -> None:
        self._connection = connection
        self._stream = self._connection.makefile("rb")
        self._number = 0
        self._events: list[dict[str, object]] = []
        self._call("initialize", {"adapterID": "python", "pathFormat": "path"})
        self._send("attach", attach)
        self.wait("initialized")

    def begin(self, file: Path) -> None:
        """Set the breakpoint, and let the process go."""
        source = {"path": str(file)}
        self._call("setBreakpoints", {"source": source, "breakpoints": [{"line": LINE}]})
        self._call("configurationDone", {})

    def wait(self, event: str) -> dict[str, object]:
        """Wait for an event; give its body."""
        while True:
            for each in self._events:
                if each["event"] == event:
                    self._events.remove(each)
                    return each.get("body", {})  # type: ignore[return-value]  # an object
            message = self._receive()
            if message["type"] == "event":
                self._events.append(message)

    def evaluate(self, thread: object, expression: str) -> object:
        """Give an expression's value in the frame at which a thread stands."""
        frames = self._call("stackTrace", {"threadId": thread})["stackFrames"]
        frame = frames[0]["id"]  # type: ignore[index]  # the protocol has a list here
        return self._call("evaluate", {"expression": expression, "frameId": frame})["result"]

    def go_on(self, thread: object) -> None:
        """Let a thread go on."""
        self._call("continue", {"threadId": thread})

    def close(self) -> None:
        """Leave."""
        self._stream.close()
        self._connection.close()

    def _call(self, command: str, arguments: dict[str, object]) -> dict[str, object]:
        number = self._send(command, arguments)
        while True:
            message = self._receive()
            if message["type"] == "event":
                self._events.append(message)
            elif message.get("request_seq") == number:
                assert message["success"], message
                return message.get("body", {})  # type: ignore[return-value]  # an object

    def _send(self, command: str, arguments: dict[str, object]) -> int:
        self._number += 1
        message = {
            "seq": self._number,
            "type": "request",
            "command": command,
            "arguments": arguments,
        }
        body = json.dumps(message).encode()
        self._connection.sendall(b"Content-Length: %d\r\n\r\n" % len(body) + body)
        return self._number

    def _receive(self) -> dict[str, object]:
        length = 0
        while line := self._stream.readline().strip():
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        return json.loads(self._stream.read(length))  # type: ignore[no-any-return]  # an object


@pytest.fixture
def program(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Program]:
    """Start `dev` under a debugger, in the way that the test's parameter names."""
    (tmp_path / "handler.py").write_text(HANDLER)
    started = Program(tmp_path, request.param)
    yield started
    started.close()


class Program:
    """`torchloom dev handler.py`, and an editor that is attached to it."""

    def __init__(self, folder: Path, way: str) -> None:
        self.folder = folder
        self.log = folder / "log"
        (folder / ".temp").mkdir()  # one that is killed leaves something there
        own = {"PYDEVD_DISABLE_FILE_VALIDATION": "1", "TMPDIR": str(folder / ".temp")}
        port = free_port()
        dev = ["torchloom_api.cli", "dev", "handler.py", "--port=0"]
        words = {
            "option": ["-m", *dev, f"--debugpy={port}"],
            "launch": ["-m", "debugpy", "--listen", str(port), "--wait-for-client", "-m", *dev],
        }
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                [sys.executable, *words[way]],
                cwd=folder,
                env={**os.environ, **own},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        self._adapters = [Adapter(self._connect(port), {"subProcess": True})]
        self._adapters[0].begin(folder / "handler.py")
        assert self.process.stdout is not None
        found = re.search(r"curl (http://[\d.:]+)/predictions", self.process.stdout.readline())
        assert found is not None, self.log.read_text()
        self._pool = ThreadPoolExecutor(1)
        self._client = httpx.Client(base_url=found[1], timeout=120)

    def _connect(self, port: int) -> socket.socket:
        for _ in range(6000):
            try:
                return socket.create_connection(("127.0.0.1", port), timeout=120)
            except ConnectionRefusedError:
                assert self.process.poll() is None, self.log.read_text()
                time.sleep(0.01)
        raise AssertionError(self.log.read_text())

    def follow(self) -> Adapter:
        """Attach to the process that has been started, as editors do when they are told of it."""
        told = self._adapters[0].wait("debugpyAttach")
        connect = told["connect"]
        assert isinstance(connect, dict)
        adapter = Adapter(self._connect(connect["port"]), told)
        self._adapters.append(adapter)
        adapter.begin(self.folder / "handler.py")
        return adapter

    def ask(self) -> Future[httpx.Response]:
        """Ask the handler; the answer comes when it comes."""
        return self._pool.submit(self._client.post, "/predictions/handler", content=b"hello")

    def close(self) -> None:
        """End it, and whatever the debugger has started: nobody else uses its port."""
        for child in psutil.Process(self.process.pid).children(recursive=True):
            child.kill()
        self.process.kill()
        self.process.wait()
        for adapter in self._adapters:
            adapter.close()
        self._pool.shutdown()
        self._client.close()
        assert self.process.stdout is not None
        self.process.stdout.close()


@pytest.mark.parametrize("program", ["option", "launch"], indirect=True)
def test_stops_at_a_breakpoint_of_an_editor(program: Program) -> None:
    """Of one that has started it, or attached to it; after a save, too."""
    for number in (1, 2):
        worker = program.follow()
        answer = program.ask()
        thread = worker.wait("stopped")["threadId"]
        assert worker.evaluate(thread, "answer") == f"'answer {number}'"
        worker.go_on(thread)
        assert answer.result().text == f"answer {number}"
        changed = HANDLER.replace("answer 1", f"answer {number + 1}")
        (program.folder / "handler.py").write_text(changed)
