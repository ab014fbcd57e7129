"""ListenAddress: where a port of TorchServe's API listens. Binds nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, Self


Scheme = Literal["http", "https", "unix"]
Scope = Literal["inference", "management", "metrics"]

#: Ports where an address names none, for http and https.
_PORTS: Final = {
    "inference": {"http": 80, "https": 443},
    "management": {"http": 8081, "https": 8444},
    "metrics": {"http": 8082, "https": 8445},
}

_MAX_PORT: Final = 65_535

_WEB: Final = re.compile(
    r"(https?)://(\[[0-9A-Fa-f:.]+\]|[^:/?#\[\]@]+)(?::([0-9]+))?/?", re.IGNORECASE
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListenAddress:
    """`http://HOST:PORT`, `https://HOST:PORT`, or `unix:/path` (then `host` is the path)."""

    scheme: Scheme
    host: str
    port: int = 0

    @classmethod
    def parse(cls, text: str, scope: Scope) -> Self:
        """Read an address as TorchServe does. Raises ValueError."""
        if text.lower().startswith("unix:") and len(text) > len("unix:"):
            return cls(scheme="unix", host=text[len("unix:") :])
        match = _WEB.fullmatch(text)
        if match is None:
            raise ValueError(
                f"Invalid binding address: {text}. Write http://HOST:PORT, https://HOST:PORT or "
                "unix:/PATH."
            )
        scheme: Scheme = "https" if match[1].lower() == "https" else "http"
        port = int(match[3]) if match[3] else _PORTS[scope][scheme]
        if port > _MAX_PORT:
            raise ValueError(f"Invalid port number: {text}. A port is {_MAX_PORT} at most.")
        return cls(scheme=scheme, host=match[2].removeprefix("[").removesuffix("]"), port=port)

    def __str__(self) -> str:
        """Write it as it is read."""
        if self.scheme == "unix":
            return f"unix:{self.host}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}:{self.port}"
