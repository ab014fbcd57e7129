"""Listen: the addresses of TorchServe's ports, bound before anything is loaded.

An address is `http://HOST:PORT`, `https://HOST:PORT`, HOST:PORT, or `unix:/PATH`. Equal ones are
one port.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Literal, Self

from torchloom_api.listening_socket import bind
from torchloom_api.settings import Address, InvalidSettings
from torchloom_api.torchserve.frontend_settings import FrontendSettings


Port = Literal["inference", "management", "metrics"]

#: The ports, in the order in which one that is several at once looks for a route.
PORTS: Final[Sequence[Port]] = ("inference", "management", "metrics")

_UNIX: Final = "unix:"
_HTTP: Final = "http://"
_HTTPS: Final = "https://"

#: What TorchServe takes where an address names no port, and where it asks for https.
_DEFAULT: Final[Mapping[Port, int]] = {"inference": 80, "management": 8081, "metrics": 8082}
_DEFAULT_TLS: Final[Mapping[Port, int]] = {"inference": 443, "management": 8444, "metrics": 8445}


@dataclass(frozen=True, slots=True)
class Place:
    """Where a port listens: a path, or an address, with TLS or without."""

    at: Path | Address
    is_tls: bool = False

    @classmethod
    def parse(cls, text: str, port: Port) -> Self:
        """Read an address. Raises InvalidSettings."""
        if text.startswith(_UNIX):
            return cls(Path(text.removeprefix(_UNIX)))
        is_tls = text.startswith(_HTTPS)
        default = (_DEFAULT_TLS if is_tls else _DEFAULT)[port]
        bare = text.removeprefix(_HTTPS).removeprefix(_HTTP).rstrip("/")
        has_port = ":" in bare.rpartition("]")[2]
        return cls(Address.parse(bare if has_port else f"{bare}:{default}"), is_tls)

    def bind(self) -> socket.socket:
        """Bind it. Raises InvalidSettings."""
        return bind(self.at)

    def url(self, bound: socket.socket) -> str:
        """Write where it answers, with the port that was really bound."""
        if isinstance(self.at, Path):
            return f"{_UNIX}{self.at}"
        scheme = _HTTPS if self.is_tls else _HTTP
        return f"{scheme}{Address(self.at.host, bound.getsockname()[1])}"


def places(settings: FrontendSettings) -> dict[Place, frozenset[Port]]:
    """Give the ports of each place; metrics only where they are on."""
    addresses: Mapping[Port, str] = {
        "inference": settings.inference_address,
        "management": settings.management_address,
        "metrics": settings.metrics_address,
    }
    found: dict[Place, set[Port]] = {}
    for port in PORTS:
        if port != "metrics" or settings.enable_metrics_api:
            found.setdefault(Place.parse(addresses[port], port), set()).add(port)
    return {place: frozenset(ports) for place, ports in found.items()}


def require_free(settings: FrontendSettings) -> None:
    """Raise InvalidSettings where somebody has a port of gRPC's.

    Those are bound by gRPC itself, and only when workers load already.
    """
    addresses = {settings.grpc_inference.at, settings.grpc_management.at}
    with ExitStack() as stack:
        for at in addresses:
            try:
                stack.enter_context(bind(at))
            except InvalidSettings as error:
                # Whatever else is wrong, with a name for one, gRPC may see otherwise.
                if getattr(error.__cause__, "errno", None) == errno.EADDRINUSE:
                    raise


@contextmanager
def bound(settings: FrontendSettings) -> Iterator[dict[Place, socket.socket]]:
    """Bind every place; at the end they are closed, and paths removed. Raises InvalidSettings."""
    sockets: dict[Place, socket.socket] = {}
    try:
        for place in places(settings):
            sockets[place] = place.bind()
        yield sockets
    finally:
        for place, each in sockets.items():
            each.close()
            if isinstance(place.at, Path):
                place.at.unlink(missing_ok=True)
