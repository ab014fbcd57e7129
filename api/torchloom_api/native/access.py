"""Access: which routes a listener serves, and which a key is for: both have the same scopes."""

from __future__ import annotations

from typing import Final

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from torchloom_api.edge import KEYS_KEY, LISTENER_KEY
from torchloom_api.errors import ElsewhereServed
from torchloom_api.key_ring import KeyRing


#: The key of a route's scopes in its `opt`; a route without any is served everywhere.
SCOPES: Final = "scopes"

INFERENCE: Final = {SCOPES: frozenset({"inference"})}
MANAGEMENT: Final = {SCOPES: frozenset({"management"})}
METRICS: Final = {SCOPES: frozenset({"metrics"})}
#: What may be looked at from where work is sent as well.
READING: Final = {SCOPES: frozenset({"inference", "management"})}


def guard_route(connection: ASGIConnection, handler: BaseRouteHandler) -> None:  # type: ignore[type-arg]  # any
    """Refuse a route on a listener that does not serve it, and to who has no key for it."""
    wanted = handler.opt.get(SCOPES)
    served = connection.scope.get(LISTENER_KEY)
    if wanted is not None and not (wanted & served):
        names = " or ".join(sorted(wanted))
        message = f"{connection.url.path} is served by the {names} listener."
        raise ElsewhereServed(message)
    if wanted is not None:
        keys = connection.scope.get(KEYS_KEY)
        assert isinstance(keys, KeyRing), "Edge stands in front of every request"
        keys.require(dict(connection.scope["headers"]), wanted)
