"""Services over gRPC, in the server's own process and event loop."""

from __future__ import annotations

import os


# Workers are started while calls run; gRPC would say at each that it has no part in that.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
