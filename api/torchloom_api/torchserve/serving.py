"""The one way into TorchServe's HTTP and gRPC API, from the command line. Knows no route."""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Callable
from typing import Final

from torchloom import garbage
from torchloom.errors import TorchLoomError
from torchloom_api.torchserve.settings import TorchServeSettings


#: The module that holds the API: `run(settings, on_ready)` serves until a signal.
_SERVER: Final = "torchloom_api.torchserve.server"


class NotBuilt(TorchLoomError):
    """This build of TorchLoom has no HTTP API of TorchServe."""

    title = "TorchServe's API is not built yet"


def serve_torchserve(settings: TorchServeSettings, *, on_ready: Callable[[], None]) -> None:
    """Serve until a signal; `on_ready` is called once everything serves. Raises NotBuilt."""
    if importlib.util.find_spec(_SERVER) is None:
        raise NotBuilt(
            "TorchServe's HTTP API is not built yet: this command line, its configuration and its "
            "snapshots are. Use `torchloom migrate`, and `torchloom serve` for what it writes."
        )
    with garbage.importing():
        server = importlib.import_module(_SERVER)
    server.run(settings, on_ready)
