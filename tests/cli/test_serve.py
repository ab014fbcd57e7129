"""`torchloom serve`, and the commands that talk to a server, against a real one.

The workflow needs no model, so the server is up in the time that its imports take.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from torchloom_api.cli import main
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.settings import Settings


pytestmark = pytest.mark.slow

GREETING = """\
name: greeting
description: Says hello.
inputs:
  name: {type: string}
  times: {type: integer, default: 1}
nodes:
  hello: {template: "Hello, {{ inputs.name }}{{ '!' * inputs.times }}"}
outputs: {text: "{{ hello.text }}"}
"""
PROGRAM = [sys.executable, "-m", "torchloom_api.cli"]


@pytest.fixture(scope="module")
def file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Give a workflow file."""
    file = tmp_path_factory.mktemp("files") / "greeting.yaml"
    file.write_text(GREETING)
    return file


@pytest.fixture(scope="module")
def url(serve: Callable[[str], str], file: Path) -> str:
    """Serve it, with a store of its own."""
    return serve(f"torchloom serve {file} --store {file.parent / 'store'}")


def _ask(url: str, *words: str) -> Result:
    return CliRunner().invoke(main, [*words, "--server", url])


def test_runs_a_workflow(url: str) -> None:
    """Inputs are read by their declared types, and the outputs printed."""
    result = _ask(url, "run", "greeting", "-i", "name=12", "-i", "times=3")
    assert result.exit_code == ExitCode.OK
    assert result.stdout == "text: Hello, 12!!!\n"


def test_prints_the_outputs_alone_as_json(url: str) -> None:
    """--json is for scripts: one JSON object, nothing else."""
    result = _ask(url, "run", "greeting", "--inputs", '{"name": "you"}', "--json")
    assert json.loads(result.stdout) == {"text": "Hello, you!"}


def test_refuses_a_run_with_wrong_inputs(url: str) -> None:
    """The server's reason is printed with its place, and the exit code says that it failed."""
    result = _ask(url, "run", "greeting", "--inputs", '{"name": 1}')
    assert result.exit_code == ExitCode.FAILED
    assert "/name" in result.stderr


def test_tells_of_an_unknown_workflow(url: str) -> None:
    """A name that is not there has an exit code of its own, and the nearest name."""
    result = _ask(url, "run", "greting", "-i", "name=you")
    assert result.exit_code == ExitCode.NOT_FOUND
    assert "Did you mean 'greeting'?" in result.stderr


def test_lists_and_shows_workflows(url: str) -> None:
    """The list has a line for each version; showing one tells its inputs and nodes."""
    listed = _ask(url, "workflows", "list").stdout
    assert "greeting" in listed
    assert "Says hello." in listed
    shown = _ask(url, "workflows", "show", "greeting").stdout
    assert "times" in shown
    assert "template" in shown
    assert json.loads(_ask(url, "workflows", "list", "--json").stdout)[0]["name"] == "greeting"


def test_adds_and_removes_a_workflow(url: str, tmp_path: Path) -> None:
    """What is added can be run at once; what is removed is not found any more."""
    added = tmp_path / "added.yaml"
    added.write_text(GREETING.replace("name: greeting", "name: added", 1))
    assert _ask(url, "workflows", "add", str(added)).exit_code == ExitCode.OK
    assert _ask(url, "run", "added", "-i", "name=you").stdout == "text: Hello, you!\n"
    assert _ask(url, "workflows", "remove", "added").exit_code == ExitCode.OK
    assert _ask(url, "workflows", "show", "added").exit_code == ExitCode.NOT_FOUND


def test_points_at_the_faults_of_an_added_file(url: str, tmp_path: Path) -> None:
    """The server's faults are printed with the name of the user's file, line and column."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(GREETING.replace("inputs.name", "inputs.nmae"))
    result = _ask(url, "workflows", "add", str(bad))
    assert result.exit_code == ExitCode.INVALID_FILE
    assert f"{bad}:7:" in result.stderr


def test_lists_models_and_devices(url: str) -> None:
    """A server without models has an empty list; it always has a CPU."""
    assert _ask(url, "models", "list").exit_code == ExitCode.OK
    assert _ask(url, "models", "show", "llama").exit_code == ExitCode.NOT_FOUND
    devices = json.loads(_ask(url, "devices", "--json").stdout)
    assert devices[0]["device"] == "cpu"
    assert devices[0]["memory"] > 0


def test_runs_a_file_without_a_server(file: Path) -> None:
    """A file is loaded, run once, and let go of; nothing needs to be up."""
    result = CliRunner().invoke(main, ["run", str(file), "-i", "name=you"])
    assert result.exit_code == ExitCode.OK, result.output
    assert result.stdout == "text: Hello, you!\n"


def test_checks_the_inputs_of_a_file_before_anything_is_loaded(file: Path) -> None:
    """Without a server the same checks are made, with the same words."""
    result = CliRunner().invoke(main, ["run", str(file), "--inputs", '{"name": 1}'])
    assert result.exit_code == ExitCode.FAILED
    assert "'name'" in result.stderr


def test_does_not_start_with_a_file_that_does_not_pass(tmp_path: Path) -> None:
    """The faults are printed, and the exit code is that of `check`."""
    bad = tmp_path / "bad.yaml"
    bad.write_text(GREETING.replace("inputs.name", "inputs.nmae"))
    command = [*PROGRAM, "serve", str(bad), "--port=0", f"--store={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.INVALID_FILE
    assert f"{bad}:7:" in done.stderr
    assert "Traceback" not in done.stderr


def test_says_that_a_port_is_taken(url: str, file: Path, tmp_path: Path) -> None:
    """Two servers cannot share a port; the second says so and ends."""
    port = url.rpartition(":")[2]
    command = [*PROGRAM, "serve", str(file), f"--port={port}", f"--store={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.FAILED
    assert f"Cannot listen on 127.0.0.1:{port}" in done.stderr


def test_refuses_to_be_open_by_accident(file: Path, tmp_path: Path) -> None:
    """Listening beyond this machine has to be asked for by name."""
    command = [*PROGRAM, "serve", str(file), "--host=0.0.0.0", f"--store={tmp_path}"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == ExitCode.FAILED
    assert "allow_open" in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ends_with_0_when_it_is_told_to(number: signal.Signals, file: Path, tmp_path: Path) -> None:
    """Ctrl-C and SIGTERM are how a server ends; the ready file is there by then."""
    ready = tmp_path / "ready.json"
    command = [*PROGRAM, "serve", str(file), "--port=0", f"--store={tmp_path}"]
    server = subprocess.Popen(
        [*command, f"--ready-file={ready}"], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL
    )
    with server:
        assert server.stdout is not None
        line = server.stdout.readline().decode()
        os.kill(server.pid, number)
        # The ready file is written after the line is printed, before signals are looked at.
        assert server.wait(timeout=30) == ExitCode.OK
    told = json.loads(ready.read_text())
    assert line == f"Ready: {told['url']}\n"
    assert told["pid"] == server.pid


def test_says_when_no_server_answers() -> None:
    """Scripts can tell a server that is down from a run that failed."""
    result = _ask("http://127.0.0.1:9", "workflows", "list")
    assert result.exit_code == ExitCode.UNREACHABLE
    assert "torchloom serve FILE" in result.stderr


@pytest.mark.parametrize(
    ("flags", "memory", "evict"),
    [
        ([], {"cpu": "1GiB"}, True),
        (["--memory", "cpu=12GiB", "--memory", "cuda:0=8GiB", "--no-evict"], None, False),
        (["--memory", "cpu=12GiB,cuda:0=8GiB", "--evict"], None, True),
    ],
)
def test_takes_budgets_of_memory_and_eviction(
    flags: list[str],
    memory: dict[str, str] | None,
    evict: bool,  # noqa: FBT001 - a table
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Flags come over the settings file; what they do not say is the file's."""
    settings: list[Settings] = []
    monkeypatch.setattr("torchloom_api.server.run_server", lambda s, *_, **__: settings.append(s))
    file = tmp_path / "settings.yaml"
    file.write_text("memory: {cpu: 1GiB}\nevict: true\n")
    result = CliRunner().invoke(main, ["serve", "--settings", str(file), *flags])
    assert result.exit_code == ExitCode.OK
    assert settings[0].memory == (memory or {"cpu": "12GiB", "cuda:0": "8GiB"})
    assert settings[0].evict is evict


@pytest.mark.parametrize(
    ("flags", "place"),
    [
        ([], "127.0.0.1:7001"),
        (["--grpc-port", "0"], "127.0.0.1:0"),
        (["--grpc-port", "7070", "--host", "::1"], "[::1]:7070"),
    ],
)
def test_takes_a_port_for_grpc(
    flags: list[str], place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The flag goes over the settings file, and takes the host of the other listener."""
    settings: list[Settings] = []
    monkeypatch.setattr("torchloom_api.server.run_server", lambda s, *_, **__: settings.append(s))
    file = tmp_path / "settings.yaml"
    file.write_text("grpc: 127.0.0.1:7001\n")
    result = CliRunner().invoke(main, ["serve", "--settings", str(file), *flags])
    assert result.exit_code == ExitCode.OK
    assert str(settings[0].grpc_address) == place


@pytest.mark.parametrize("amount", ["cpu", "cpu=lots", "gpu=1GiB", "=1GiB"])
def test_refuses_a_budget_that_is_none(amount: str) -> None:
    """What is wrong is named, and no server starts."""
    result = CliRunner().invoke(main, ["serve", "--memory", amount])
    assert result.exit_code == ExitCode.FAILED
    assert "The setting 'memory' is not valid" in result.stderr
