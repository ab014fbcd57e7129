"""Access: which routes a listener serves. API keys will ask for the same scopes."""

from __future__ import annotations

from typing import Final, Literal

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from torchloom_api.edge import LISTENER_KEY
from torchloom_api.errors import ElsewhereServed


Scope = Literal["inference", "management", "metrics"]

#: The key of a route's scopes in its `opt`; a route without any is served everywhere.
SCOPES: Final = "scopes"

INFERENCE: Final = {SCOPES: frozenset({"inference"})}
MANAGEMENT: Final = {SCOPES: frozenset({"management"})}
METRICS: Final = {SCOPES: frozenset({"metrics"})}
#: What may be looked at from where work is sent as well.
READING: Final = {SCOPES: frozenset({"inference", "management"})}


def guard_listener(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]  # any
    """Refuse a route on a listener that does not serve it."""
    wanted = handler.opt.get(SCOPES)
    served = connection.scope.get(LISTENER_KEY)
    if wanted is not None and not (wanted & served):
        names = " or ".join(sorted(wanted))
        message = f"{connection.url.path} is served by the {names} listener."
        raise ElsewhereServed(message)
