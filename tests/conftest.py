"""What tests of several areas share: a real server, artefact folders, and who runs what."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest


ROOT = Path(__file__).parent.parent

# Processes that run tests, and those that tests start, share the cores: threads that spin while
# they wait take them from each other (drawing a picture took 66 s in place of 5). Read by OpenMP
# when torch is first imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

#: Runs a command line from the top folder; gives the server's address once it is ready.
Serve = Callable[[str], str]

#: Makes a folder into one of artefacts; gives it back.
MakeArtefacts = Callable[[Path], Path]

#: These share something outside of Python: the store of the examples, or one server.
TOGETHER = ("tests/examples", "tests/test_readme.py", "tests/api/openai")


#: Files that take minutes: one that began last would keep one process busy while the others wait.
FIRST = (
    "tests/models/llm/test_openvino_runner.py",
    "tests/tiny_models/test_tiny_stable_diffusion.py",
    "tests/tiny_models/test_train_llama.py",
    "tests/tiny_models/test_train_stable_diffusion.py",
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put what takes long first; all else stays in its order."""
    items.sort(key=lambda item: not item.nodeid.startswith(FIRST))


def _group_of(test: str) -> str:
    """Name those that run in one process: the tests of a file, or of several that share something.

    The READMEs serve the examples, from the one store that those have.
    """
    file = test.partition("::")[0]
    group = next((each for each in TOGETHER if file.startswith(each)), file)
    return group.replace("tests/test_readme.py", "tests/examples")


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> object:
    """Give whole groups to processes, where several run the tests."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - only where it is used

    class Groups(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types
        def _split_scope(self, nodeid: str) -> str:
            return _group_of(nodeid)

    return Groups(config, log)


@pytest.fixture(scope="session")
def make_artefacts(tmp_path_factory: pytest.TempPathFactory) -> MakeArtefacts:
    """Make empty folders that keep code, and share what inductor asks of the compiler of a machine.

    It builds several libraries to learn which instructions there are: once is enough.
    """
    shared = tmp_path_factory.mktemp("inductor")

    def make(folder: Path) -> Path:
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "inductor").symlink_to(shared)
        return folder

    return make


@pytest.fixture(scope="module")
def serve(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Serve]:
    """Start servers, each on a free port; at the end, each must end by itself with code 0.

    They end with their file: two workers with a model each hold more than 1 GB.
    """
    logs = tmp_path_factory.mktemp("servers")
    with ExitStack() as stack:
        yield lambda command: stack.enter_context(_served(command, logs))


@contextmanager
def _served(command: str, logs: Path) -> Iterator[str]:
    log = logs / f"{len(list(logs.iterdir()))}.log"
    program = [sys.executable, "-m", "torchloom_api.cli", *command.split()[1:], "--port=0"]
    with log.open("w") as errors:
        server = subprocess.Popen(
            program, cwd=ROOT, stdout=subprocess.PIPE, stderr=errors, process_group=0
        )
        try:
            yield _wait_until_ready(server, log)
        finally:
            _end(server, log)


def _wait_until_ready(server: subprocess.Popen[bytes], log: Path) -> str:
    """Read what the server prints until it says where it is; it prints that when all serves."""
    assert server.stdout is not None
    for line in server.stdout:
        ready, _, url = line.decode().strip().partition(": ")
        if ready == "Ready":
            return url
    pytest.fail(f"The server ended before it was ready:\n{log.read_text()}")


def _end(server: subprocess.Popen[bytes], log: Path) -> None:
    server.terminate()
    try:
        code = server.wait(timeout=60)
    except subprocess.TimeoutExpired:
        os.killpg(server.pid, signal.SIGKILL)
        server.wait()
        raise
    finally:
        if server.stdout is not None:
            server.stdout.close()
    assert code == 0, log.read_text()
