"""Listening sockets: bound before anything is loaded, so that a taken address is told at once.

Knows not who will answer there.
"""

from __future__ import annotations

import socket
import stat
from pathlib import Path
from typing import Final

from torchloom_api.settings import Address, InvalidSettings


#: How many connections may wait to be accepted.
BACKLOG: Final = 2048


def bind(at: Address | Path) -> socket.socket:
    """Bind an address, or a path of the file system. Raises InvalidSettings."""
    bound = socket.socket(_family(at), socket.SOCK_STREAM)
    try:
        if isinstance(at, Path):
            _clear(at)
            bound.bind(str(at))
        else:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            bound.bind((at.host, at.port))
        bound.listen(BACKLOG)  # or another process might, as long as nobody does
    except OSError as error:
        bound.close()
        message = f"Cannot listen on {at}: {error.strerror or error}."
        raise InvalidSettings(message) from error
    return bound


def _family(at: Address | Path) -> socket.AddressFamily:
    if isinstance(at, Path):
        return socket.AF_UNIX
    return socket.AF_INET6 if ":" in at.host else socket.AF_INET


def _clear(path: Path) -> None:
    """Remove the socket that a server has left behind; anything else is in the way."""
    if path.exists() and stat.S_ISSOCK(path.stat().st_mode):
        path.unlink()
