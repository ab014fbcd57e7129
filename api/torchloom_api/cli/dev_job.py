"""What `torchloom dev` does: says where a handler is served, and what happens. Knows no route."""

from __future__ import annotations

import argparse
import importlib
import logging
from collections.abc import Mapping
from typing import Final

from torchloom_api.cli.exit_code import ExitCode
from torchloom_api.cli.failure import Failure
from torchloom_api.cli.interrupt import interruptible
from torchloom_api.cli.screen import error_screen, screen
from torchloom_api.torchserve.dev.server import dev_settings, serve_dev
from torchloom_api.torchserve.listen import Port
from torchloom_models.archive.workbench import NamedFiles, Workbench
from torchloom_models.archive.workbench_finding import find_workbench


_NO_DEBUGPY: Final = "--debugpy needs the package of that name: pip install debugpy"

_LOOPBACK: Final = "127.0.0.1"


def carry_out(arguments: argparse.Namespace) -> int:
    """Serve until Ctrl-C. Gives the exit code; raises what keeps the server from starting."""
    logging.basicConfig(level=logging.ERROR, format="%(levelname)s %(name)s: %(message)s")
    bench = find_workbench(
        arguments.target,
        NamedFiles(
            serialized_file=arguments.serialized_file,
            model_file=arguments.model_file,
            extra_files=arguments.extra_files,
            config_file=arguments.config_file,
        ),
        name=arguments.name,
        handler=arguments.handler,
        envelope=arguments.envelope,
    )
    settings = dev_settings(port=arguments.port, management_port=arguments.management_port)
    if arguments.debugpy is not None:
        with interruptible():
            _await_debugger(arguments.debugpy)
    serve_dev(bench, settings, tell=_tell, on_urls=lambda urls: _welcome(bench, urls))
    return ExitCode.OK


def _await_debugger(port: int) -> None:
    """Listen for a debugger, and wait until one is there.

    It follows the processes that are started from here on, so that it stays through reloads.
    """
    try:
        debugpy = importlib.import_module("debugpy")
    except ImportError as error:
        raise Failure(_NO_DEBUGPY) from error
    try:
        host, bound = debugpy.listen((_LOOPBACK, port))
    except (OSError, RuntimeError) as error:
        message = f"--debugpy {port}: cannot listen on {_LOOPBACK}:{port}: {error}"
        raise Failure(message) from error
    _tell(f"Waiting for a debugger at {host}:{bound} …")
    debugpy.wait_for_client()


def _welcome(bench: Workbench, urls: Mapping[Port, str]) -> None:
    source = bench.handler if bench.folder is None else bench.folder.resolve()
    _tell(
        f"Serving {bench.name!r} from {source}. Saved changes are served at once; Ctrl-C ends it."
    )
    predictions = f"{urls['inference']}/predictions/{bench.name}"
    for line in (
        f"curl {predictions} -T FILE",
        f"curl {predictions} -H 'Content-Type: application/json' -d '{{\"data\": 1}}'",
        f"curl {urls['management']}/models/{bench.name}",
    ):
        screen.print(f"  {line}", highlight=False, markup=False, soft_wrap=True)
    screen.file.flush()


def _tell(line: str) -> None:
    error_screen.print(line, highlight=False, markup=False, soft_wrap=True)
