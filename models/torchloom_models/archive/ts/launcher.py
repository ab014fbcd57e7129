"""`ts.launcher`: what scripts of operators start and stop a server by, and fill it.

Runs the command `torchserve`, which `torchloom alias install` makes. In handlers it has no use.
"""

from __future__ import annotations

import importlib
import subprocess
import threading
from collections.abc import Mapping, Sequence
from queue import Queue
from typing import IO, Any, Final


#: Says that all serves.
_STARTED: Final = "Model server started"

#: The most lines that wait for who started the server to take them.
_MAX_LINES: Final = 1000

_MODELS: Final = "http://localhost:8081/models"


def start(
    model_store: str,
    snapshot_file: str | None = None,
    no_config_snapshots: bool = False,  # noqa: FBT001, FBT002 - TorchServe's own face
    plugin_folder: str | None = None,
    disable_token: bool = False,  # noqa: FBT001, FBT002 - the same
    models: str | None = None,
    enable_model_api: bool = False,  # noqa: FBT001, FBT002 - the same
) -> Queue[str | None]:
    """Start a server in place of one that runs, and wait until it serves, or has ended.

    Gives the lines that it prints from then on; None is the last. While a thousand wait to be
    taken, further ones are left out. All that it prints is printed. Raises FileNotFoundError where
    there is no command `torchserve`.
    """
    stop()
    words = ["torchserve", "--start", "--model-store", model_store]
    words += ["--ts-config", snapshot_file] if snapshot_file else []
    words += ["--no-config-snapshots"] if no_config_snapshots else []
    words += ["--plugins-path", plugin_folder] if plugin_folder else []
    words += ["--disable-token-auth"] if disable_token else []
    words += ["--enable-model-api"] if enable_model_api else []
    words += ["--models", models] if models else []
    running = subprocess.Popen(  # noqa: S603 - the caller's own words
        words,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert running.stdout is not None
    # The command ends before the server, which writes where it wrote.
    threading.Thread(target=running.wait, daemon=True).start()
    for line in running.stdout:
        _say(line)
        if _STARTED in line:
            break
    kept: Queue[str | None] = Queue()
    threading.Thread(target=_pass_on, args=(running.stdout, kept), daemon=True).start()
    return kept


def stop(wait: bool = True) -> None:  # noqa: FBT001, FBT002 - TorchServe's own face
    """Stop the server, if one runs; with `wait`, until it has ended."""
    words = ["torchserve", "--stop", *(["--foreground"] if wait else [])]
    subprocess.run(words, check=False)  # noqa: S603 - words of this module


def register_model(model_name: str, url: str) -> Any:
    """Have the server of port 8081 serve an archive, with one worker."""
    given = {
        "model_name": model_name,
        "url": url,
        "initial_workers": "1",
        "synchronous": "true",
    }
    return register_model_with_params(given)


def register_model_with_params(
    params: Mapping[str, str] | Sequence[tuple[str, str]],
) -> Any:
    """Register with parameters of one's own. Needs `requests`, and gives its answer."""
    requests = importlib.import_module("requests")  # an optional package
    return requests.post(_MODELS, params=dict(params), timeout=600)


def _pass_on(output: IO[str], kept: Queue[str | None]) -> None:
    with output:
        for line in output:
            _say(line)
            if kept.qsize() < _MAX_LINES:  # nobody else puts
                kept.put(line)
    kept.put(None)


def _say(line: str) -> None:
    print(line.rstrip())  # noqa: T201 - a script's output


__all__ = ["register_model", "register_model_with_params", "start", "stop"]
