"""`torchloom torchserve`: TorchServe's command line, with a stand-in for its API.

The stand-in is a module on PYTHONPATH of the started process: it says that it is ready, and waits.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest


PROGRAM = [sys.executable, "-m", "torchloom_api.cli", "torchserve"]

#: Puts a module `server` into the package, which this build may have or not.
STAND_IN = """\
import signal, sys, types, importlib.util
module = types.ModuleType("torchloom_api.torchserve.server")
module.__spec__ = importlib.util.spec_from_loader(module.__name__, None)
def run(settings, on_ready):
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    on_ready()
    signal.sigwait({signal.SIGTERM})
module.run = run
sys.modules[module.__name__] = module
"""


class Folder:
    """A working folder, with a temporary folder of its own, in which commands are called."""

    def __init__(self, path: Path) -> None:
        self.path = path
        for name in ("models", "temp", "site"):
            (path / name).mkdir()
        (path / "site" / "sitecustomize.py").write_text(STAND_IN)
        python_path = f"{path / 'site'}:{os.environ.get('PYTHONPATH', '')}"
        self.environment = {**os.environ, "TEMP": str(path / "temp"), "PYTHONPATH": python_path}

    @property
    def pid_file(self) -> Path:
        """Give the place of the pid file."""
        return self.path / "temp" / ".model_server.pid"

    def call(self, *words: str) -> tuple[int, str]:
        """Call a command to its end; gives its exit code and all that it printed."""
        done = subprocess.run(
            [*PROGRAM, *words],
            cwd=self.path,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    def start(self, *words: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [*PROGRAM, *words],
            cwd=self.path,
            env=self.environment,
            stdout=subprocess.PIPE,
            text=True,
        )


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Folder]:
    """Give a folder; whatever was started in it is ended."""
    folder = Folder(tmp_path)
    yield folder
    folder.call("--stop", "--foreground")


def test_starts_in_the_background_and_stops(folder: Folder) -> None:
    """The command ends, the server stays, says that it is ready, and --stop ends it."""
    with folder.start("--start", "--model-store", "models", "--ncs") as command:
        assert command.wait() == 0
        pid = int(folder.pid_file.read_text())
        assert command.stdout is not None
        assert "Model server started.\n" in command.stdout  # lines of the log come before it
        assert "org.pytorch.serve.ModelServer" in psutil.Process(pid).cmdline()  # tools look for it
        again = folder.call("--start", "--model-store", "models")
        assert again == (
            1,
            "TorchServe is already running, please use torchserve --stop to stop TorchServe.\n",
        )
        (folder.path / "key_file.json").write_text("{}")
        assert folder.call("--stop", "--foreground") == (0, "TorchServe has stopped.\n")
    assert not psutil.pid_exists(pid)
    assert not folder.pid_file.exists()
    assert not (folder.path / "key_file.json").exists()


def test_serves_in_the_foreground(folder: Folder) -> None:
    """With --foreground the command is the server; a SIGTERM ends it with 0."""
    with folder.start("--foreground", "--model-store", "models") as server:
        assert server.stdout is not None
        assert "Model server started.\n" in server.stdout
        assert int(folder.pid_file.read_text()) == server.pid
        server.terminate()
        assert server.wait() == 0
    assert not folder.pid_file.exists()


def test_tells_that_nothing_runs(folder: Folder) -> None:
    """--stop without a server is no failure."""
    assert folder.call("--stop") == (0, "TorchServe is not currently running.\n")


def test_stops_nothing_that_is_no_server(folder: Folder) -> None:
    """A pid file may name another process by now: that goes on, and so does what keys are for."""
    (folder.path / "key_file.json").touch()
    words = [sys.executable, "-c", "input()", "torchserve"]
    with subprocess.Popen(words, stdin=subprocess.PIPE) as stranger:
        folder.pid_file.write_text(str(stranger.pid))
        assert folder.call("--stop") == (0, "TorchServe is not currently running.\n")
        assert stranger.poll() is None
        stranger.communicate(b"\n")
    assert (folder.path / "key_file.json").exists()


def test_removes_the_file_of_a_server_that_is_gone(folder: Folder) -> None:
    """A crash leaves a pid file; the next start says so and goes on."""
    folder.pid_file.write_text("99999999")
    code, printed = folder.call("--start", "--model-store", "nope")
    assert (code, printed) == (
        1,
        "Removing orphan pid file.\n--model-store directory not found: nope\n",
    )


@pytest.mark.parametrize(
    ("words", "printed"),
    [
        ([], "Missing mandatory parameter --model-store\n"),
        (["--start"], "Missing mandatory parameter --model-store\n"),
        (["--model-store", "nope"], "--model-store directory not found: nope\n"),
        (["--ts-config", "nope"], "--ts-config file not found: nope\n"),
    ],
)
def test_refuses_in_torchserves_words(folder: Folder, words: list[str], printed: str) -> None:
    """The lines and the exit code 1 are TorchServe's; nothing is started."""
    assert folder.call(*words) == (1, printed)
    assert not folder.pid_file.exists()


def test_needs_the_temporary_folder_that_the_environment_names(folder: Folder) -> None:
    """It is told before anything is started."""
    folder.environment["TEMP"] = "nowhere"

    code, printed = folder.call("--start", "--model-store", "models")

    assert code == 1
    assert printed == ("Invalid temp directory: nowhere, please check TEMP environment variable.\n")


def test_tells_every_fault_of_a_configuration_before_it_starts(folder: Folder) -> None:
    """A server that cannot start does not go to the background first."""
    (folder.path / "c").write_text("job_queue_size=x\nenable_model_api=y\n")
    code, printed = folder.call("--start", "--ts-config", "c", "--model-store", "models")
    assert code == 1
    assert printed.startswith("Invalid configuration: ")
    assert "c:1: job_queue_size: 'x' is no whole number." in printed
    assert "c:2: enable_model_api: 'y' is neither true nor false." in printed
    assert not folder.pid_file.exists()


def test_takes_shortened_and_second_names(folder: Folder) -> None:
    """--disable-token and --ncs are what people write."""
    words = ["--start", "--model-st", "models", "--disable-token", "--ncs", "--stop"]
    code, printed = folder.call(*words)
    assert code == 2
    assert "argument --stop: not allowed with argument --start" in printed


def test_prints_its_version(folder: Folder) -> None:
    """The line begins as TorchServe's does."""
    code, printed = folder.call("-v")
    assert code == 0
    assert printed.startswith("TorchServe Version is ")
