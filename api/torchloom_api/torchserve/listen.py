"""Listen: the addresses of TorchServe's ports, bound before anything is loaded.

An address is `http://HOST:PORT`, `https://HOST:PORT`, HOST:PORT, or `unix:/PATH`. Equal ones are
one port.
"""

from __future__ import annotations

import socket
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from torchloom_api.server import BACKLOG
from torchloom_api.settings import Address, InvalidSettings
from torchloom_api.torchserve.door import PORTS, Port
from torchloom_api.torchserve.frontend_settings import FrontendSettings


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
        is_path = isinstance(self.at, Path)
        family = socket.AF_UNIX if is_path else socket.AF_INET
        if isinstance(self.at, Address) and ":" in self.at.host:
            family = socket.AF_INET6
        bound = socket.socket(family, socket.SOCK_STREAM)
        try:
            if isinstance(self.at, Path):
                _clear(self.at)
                bound.bind(str(self.at))
            else:
                bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                bound.bind((self.at.host, self.at.port))
            bound.listen(BACKLOG)  # or another process might, as long as nobody does
        except OSError as error:
            bound.close()
            message = f"Cannot listen on {self.at}: {error.strerror or error}."
            raise InvalidSettings(message) from error
        return bound

    def url(self, bound: socket.socket) -> str:
        """Write where it answers, with the port that was really bound."""
        if isinstance(self.at, Path):
            return f"{_UNIX}{self.at}"
        scheme = _HTTPS if self.is_tls else _HTTP
        return f"{scheme}{Address(self.at.host, bound.getsockname()[1])}"


def _clear(path: Path) -> None:
    """Remove the socket that a server has left behind; anything else is in the way."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()


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
