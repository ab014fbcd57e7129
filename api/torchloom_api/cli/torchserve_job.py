"""What `torchloom torchserve` does: starting, in the background or not, and stopping.

Knows no options, and not how the API serves.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Final

import psutil

from torchloom.errors import TorchLoomError
from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.pid_file import MARK, PidFile
from torchloom_api.torchserve.serving import serve_torchserve
from torchloom_api.torchserve.settings import CommandLine, read_settings
from torchloom_api.torchserve.snapshot import InvalidSnapshot


_RUNNING: Final = "TorchServe is already running, please use torchserve --stop to stop TorchServe."

#: How long `--stop --foreground` waits for the end.
_STOP_S: Final = 60.0


def carry_out(words: Sequence[str], arguments: argparse.Namespace) -> int:
    """Start or stop a server, in TorchServe's words. Gives the exit code.

    `words` are what `arguments` were read from: a start in the background repeats them.
    """
    pid_file = PidFile.find(os.environ)
    if arguments.version:
        _say(f"TorchServe Version is {version('torchloom')} (TorchLoom)")
        return ExitCode.OK
    if arguments.stop:
        return _stop(pid_file, waits=arguments.foreground)
    try:
        return _start(words, arguments, pid_file)
    except (InvalidSettings, InvalidSnapshot) as error:
        _say(f"Invalid configuration: {error.message}")
        for fault in error.faults:
            _say(f"  {fault}")
    except TorchLoomError as error:
        _say(error.message)
    return ExitCode.FAILED


def _start(words: Sequence[str], arguments: argparse.Namespace, pid_file: PidFile) -> int:
    process = pid_file.read()
    if process is not None and process.pid != os.getpid():
        _say(_RUNNING)
        return ExitCode.FAILED
    if process is None and pid_file.path.exists():
        _say("Removing orphan pid file.")
        pid_file.remove()
    if not pid_file.path.parent.is_dir():
        folder = pid_file.path.parent
        _say(f"Invalid temp directory: {folder}, please check TEMP environment variable.")
        return ExitCode.FAILED
    # Read here too where the server goes to the background: what is wrong is told at once.
    settings = read_settings(_to_command_line(arguments), environment=os.environ, folder=Path.cwd())
    if not arguments.foreground:
        child = subprocess.Popen(  # noqa: S603 - this program itself, with the caller's words
            [
                sys.executable,
                *("-X", MARK),
                "-m",
                "torchloom_api.cli",
                "torchserve",
                *words,
                "--foreground",
            ],
            stdin=subprocess.DEVNULL,
            start_new_session=True,
        )
        pid_file.write(child.pid)
        return ExitCode.OK
    for warning in settings.warnings:
        print(f"WARNING - {warning}", file=sys.stderr)  # noqa: T201 - before logs are set up
    with pid_file.held():
        serve_torchserve(settings, on_ready=lambda: _say("Model server started."))
    return ExitCode.OK


def _stop(pid_file: PidFile, *, waits: bool) -> int:
    process = pid_file.read()
    if process is None:
        _say("TorchServe is not currently running.")
        return ExitCode.OK
    try:
        process.terminate()
        if waits:
            process.wait(_STOP_S)
    except psutil.NoSuchProcess:
        pass
    except psutil.AccessDenied:
        _say(f"The server (process {process.pid}) belongs to another user.")
        return ExitCode.FAILED
    except psutil.TimeoutExpired:
        _say(f"The server (process {process.pid}) has not ended in {_STOP_S:.0f} s.")
        return ExitCode.FAILED
    pid_file.remove()
    Path("key_file.json").unlink(missing_ok=True)
    _say("TorchServe has stopped.")
    return ExitCode.OK


def _say(text: str) -> None:
    """Print to standard output at once: scripts wait for these lines."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def _to_command_line(arguments: argparse.Namespace) -> CommandLine:
    return CommandLine(
        ts_config=arguments.ts_config,
        model_store=arguments.model_store,
        workflow_store=arguments.workflow_store,
        models=tuple(arguments.models or ()),
        log_config=arguments.log_config,
        cpp_log_config=arguments.cpp_log_config,
        has_snapshots=not arguments.no_config_snapshots,
        plugins_path=arguments.plugins_path,
        disable_token_auth=arguments.disable_token_auth,
        enable_model_api=arguments.enable_model_api,
    )
