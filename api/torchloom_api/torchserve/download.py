"""Download: an archive from a URL into the model store. Blocks: call it in a thread.

Each host, also after a redirect, is resolved once, looked at, and connected to by that address.
"""

from __future__ import annotations

import http.client
import ipaddress
import os
import shutil
import socket
import ssl
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, Final
from urllib.parse import SplitResult, unquote, urljoin, urlsplit


_MAX_REDIRECTS: Final = 5
_TIMEOUT_S: Final = 30.0
_BLOCK: Final = 1 << 20

#: How much is to stay free on the disk.
_SPARE_BYTES: Final = 64 << 20

_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_OK: Final = 200


class DownloadFailed(Exception):
    """The archive could not be had; says why."""


class HostRefused(Exception):
    """The URL, or one that it leads to, is not allowed; says why."""


class Download:
    """Fetches archives. `is_allowed` tells which URLs may be asked, by their text.

    `is_private_allowed`: also hosts that only this network knows.
    """

    def __init__(self, is_allowed: Callable[[str], bool], *, is_private_allowed: bool) -> None:
        self._is_allowed = is_allowed
        self._is_private_allowed = is_private_allowed

    def fetch(self, url: str, target: Path) -> None:
        """Fetch into a file that is there whole, or not at all.

        Raises FileExistsError, DownloadFailed and HostRefused.
        """
        descriptor, temporary = _make_file(target.parent)
        try:
            with os.fdopen(descriptor, "wb") as file:
                self._copy(url, file, target.parent)
            os.link(temporary, target)
            target.chmod(0o644)
        except (OSError, http.client.HTTPException, ValueError) as error:
            if isinstance(error, FileExistsError):
                raise
            raise DownloadFailed(str(error) or type(error).__name__) from error
        finally:
            Path(temporary).unlink(missing_ok=True)

    def _copy(self, url: str, file: IO[bytes], folder: Path) -> None:
        if urlsplit(url).scheme.lower() == "file":
            with Path(unquote(urlsplit(url).path)).open("rb") as source:
                _pour(source, file, folder)
            return
        for _ in range(_MAX_REDIRECTS + 1):
            connection, response = self._ask(url)
            try:
                if response.status == _OK:
                    _pour(response, file, folder)
                    return
                if response.status not in _REDIRECTS:
                    message = f"the server answers {response.status}"
                    raise DownloadFailed(message)
                url = urljoin(url, response.headers.get("location", ""))
            finally:
                response.close()
                connection.close()
            if urlsplit(url).scheme.lower() not in ("http", "https") or not self._is_allowed(url):
                message = f"it leads to {url!r}, which is not allowed"
                raise HostRefused(message)
        raise DownloadFailed("it leads from one place to the next")

    def _ask(self, url: str) -> tuple[http.client.HTTPConnection, http.client.HTTPResponse]:
        parts = urlsplit(url)
        is_tls = parts.scheme.lower() == "https"
        host = parts.hostname
        if not host:
            raise DownloadFailed("it names no host")
        port = parts.port or (443 if is_tls else 80)
        connection = http.client.HTTPConnection(host, port, timeout=_TIMEOUT_S)
        sock = socket.create_connection((self._resolve(host, port), port), _TIMEOUT_S)
        try:
            connection.sock = _wrap(sock, host) if is_tls else sock
            connection.request("GET", _target(parts), headers={"Accept-Encoding": "identity"})
            return connection, connection.getresponse()
        except BaseException:
            sock.close()
            raise

    def _resolve(self, host: str, port: int) -> str:
        """Give the address to connect to; all that the name has must be allowed."""
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
        addresses = [str(each[4][0]) for each in found]
        for address in addresses:
            if not self._is_private_allowed and not ipaddress.ip_address(address).is_global:
                message = f"{host!r} is {address}, which is no address of the public internet"
                raise HostRefused(message)
        return addresses[0]


def _make_file(folder: Path) -> tuple[int, str]:
    """Make a file to write to in a folder, which need not be there. Raises DownloadFailed."""
    try:
        folder.mkdir(parents=True, exist_ok=True)  # a store of workflows is made so
        return tempfile.mkstemp(dir=folder, prefix=".download-")
    except OSError as error:
        raise DownloadFailed(str(error)) from error


def _wrap(sock: socket.socket, host: str) -> ssl.SSLSocket:
    return ssl.create_default_context().wrap_socket(sock, server_hostname=host)


def _target(parts: SplitResult) -> str:
    return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")


def _pour(source: IO[bytes] | http.client.HTTPResponse, file: IO[bytes], folder: Path) -> None:
    """Copy to the end, as long as the disk has room."""
    while block := source.read(_BLOCK):
        if shutil.disk_usage(folder).free < _SPARE_BYTES + len(block):
            raise DownloadFailed("the disk has no room for it")
        file.write(block)
