"""`torchloom dev` in a terminal: breakpoints stop there, and Ctrl-C ends it."""

from __future__ import annotations

import os
import pty
import re
import select
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import httpx
import psutil
import pytest


pytestmark = pytest.mark.slow

HANDLER = """\
def handle(data, context):
    if data is None:
        return None
    breakpoint()
    return ["answer 1" for row in data]
"""

OF_PDB = """\
import pdb


class Handler:
    def initialize(self, context):
        pdb.set_trace()
        self.word = "ready"

    def handle(self, data, context):
        return [self.word]
"""

#: Makes its standard input the terminal of its session, as a login does, and becomes `dev`.
_AT_TERMINAL = """\
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.executable, [sys.executable, "-m", "torchloom_api.cli", "dev", *sys.argv[1:]])
"""


class Terminal:
    """A terminal in which `torchloom dev handler.py` runs, and who sits at it."""

    def __init__(self, folder: Path) -> None:
        (folder / ".temp").mkdir()  # one that is killed leaves something there
        self._ours, self._theirs = pty.openpty()
        self.setup = termios.tcgetattr(self._theirs)
        self.process = subprocess.Popen(
            [sys.executable, "-c", _AT_TERMINAL, "handler.py", "--port=0"],
            cwd=folder,
            stdin=self._theirs,
            stdout=self._theirs,
            stderr=self._theirs,
            env={**os.environ, "TERM": "dumb", "TMPDIR": str(folder / ".temp")},
            start_new_session=True,
        )
        self._shown = ""
        self._pool = ThreadPoolExecutor(4)
        shown = self.read("/models/handler")
        found = re.search(r"curl (http://[\d.:]+)/predictions", shown)
        assert found is not None, shown
        self._client = httpx.Client(base_url=found[1], timeout=120)

    def read(self, text: str) -> str:
        """Give what is shown up to a text, since the last that was read."""
        deadline = time.monotonic() + 120
        while text not in self._shown:
            ready, _, _ = select.select([self._ours], [], [], max(deadline - time.monotonic(), 0))
            assert ready, f"{text!r} is not in {self._shown}"
            self._shown += os.read(self._ours, 1 << 16).decode("utf-8", "replace")
        shown, _, self._shown = self._shown.partition(text)
        return shown + text

    def type(self, text: str) -> None:
        """Type."""
        os.write(self._ours, text.encode())

    def ask(self, body: str = "hello") -> Future[httpx.Response]:
        """Ask the handler; the answer comes when it comes."""
        return self._pool.submit(
            self._client.post, "/predictions/handler", content=body.encode(), timeout=120
        )

    def setup_now(self) -> list[object]:
        """Tell how the terminal is set up."""
        return termios.tcgetattr(self._theirs)

    def close(self) -> None:
        """End it, if it has not ended."""
        self.process.kill()
        self.process.wait()
        self._pool.shutdown()
        self._client.close()
        os.close(self._ours)
        os.close(self._theirs)


@pytest.fixture
def terminal(tmp_path: Path, request: pytest.FixtureRequest) -> Iterator[Terminal]:
    """Give a terminal with a server in it; the handler is the test's parameter, if it has one."""
    (tmp_path / "handler.py").write_text(getattr(request, "param", HANDLER))
    opened = Terminal(tmp_path)
    yield opened
    opened.close()


def test_stops_at_a_breakpoint(terminal: Terminal) -> None:
    """What is typed there is read, and the request is answered when it is let go."""
    answer = terminal.ask()
    assert "handler.py(5)handle()" in terminal.read("(Pdb) ")
    terminal.type("p data\n")
    assert "[{'body': bytearray(b'hello')}]" in terminal.read("(Pdb) ")
    assert not answer.done()
    terminal.type("c\n")

    assert answer.result().text == "answer 1"
    assert "POST /predictions/handler 200" in terminal.read("200")


def test_ends_at_a_prompt(terminal: Terminal) -> None:
    """Ctrl-C answers the request, ends all of it, and leaves the terminal as it was."""
    answer = terminal.ask()
    terminal.read("(Pdb) ")
    terminal.type("p da")
    terminal.read("p da")
    assert terminal.setup_now() != terminal.setup
    terminal.type("\x03")

    assert terminal.process.wait(60) == 0
    assert answer.result().status_code == 503
    assert terminal.setup_now() == terminal.setup


def test_keeps_a_request_that_waits_at_a_prompt_through_a_save(
    terminal: Terminal, tmp_path: Path
) -> None:
    """There is one prompt at a time: the new code is loaded when the old is let go."""
    old = terminal.ask()
    terminal.read("(Pdb) ")
    (tmp_path / "handler.py").write_text(HANDLER.replace("answer 1", "answer 2"))
    terminal.read("A request still runs on the code as it was.")
    new = terminal.ask()
    terminal.type("c\n")
    assert old.result().text == "answer 1"
    terminal.read("(Pdb) ")
    terminal.type("c\n")

    assert new.result().text == "answer 2"


@pytest.mark.parametrize("terminal", [OF_PDB], indirect=True)
def test_stops_as_it_loads(terminal: Terminal) -> None:
    """`pdb.set_trace()` in `initialize`; who asks waits. After it Ctrl-C is the server's again."""
    answer = terminal.ask()
    assert "initialize()" in terminal.read("(Pdb) ")
    terminal.type("n\n")
    terminal.read("(Pdb) ")
    terminal.type("p self.word\n")
    assert "'ready'" in terminal.read("(Pdb) ")
    terminal.type("c\n")
    assert answer.result().text == "ready"
    terminal.read("POST /predictions/handler 200")
    terminal.type("\x03")

    assert terminal.process.wait(60) == 0
    terminal.type("end\n")
    assert "(Pdb)" not in terminal.read("end")


@pytest.mark.parametrize("terminal", [OF_PDB], indirect=True)
def test_ends_at_a_prompt_as_it_loads(terminal: Terminal) -> None:
    """Ctrl-C, with somebody who waits for it to load."""
    answer = terminal.ask()
    terminal.read("(Pdb) ")
    (worker,) = psutil.Process(terminal.process.pid).children()
    terminal.type("\x03")

    assert terminal.process.wait(60) == 0
    assert answer.result().status_code == 503
    assert not worker.is_running()
    assert terminal.setup_now() == terminal.setup


def test_quits_a_request_at_its_prompt(terminal: Terminal) -> None:
    """`q` fails the request alone; the next one stops again."""
    answer = terminal.ask()
    terminal.read("(Pdb) ")
    terminal.type("q\n")
    assert (answer.result().status_code, "BdbQuit" in answer.result().text) == (503, True)
    again = terminal.ask()
    terminal.read("(Pdb) ")
    terminal.type("c\n")

    assert again.result().text == "answer 1"
