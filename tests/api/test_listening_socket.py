"""Sockets that listen before anything is loaded."""

from __future__ import annotations

import socket
from pathlib import Path

import pytest

from torchloom_api.listening_socket import bind
from torchloom_api.settings import Address, InvalidSettings


def test_listens_at_an_address() -> None:
    """Clients get through, and another server is told that the address is taken."""
    with bind(Address("127.0.0.1", 0)) as bound:
        host, port = bound.getsockname()
        socket.create_connection((host, port), timeout=10).close()
        with pytest.raises(InvalidSettings, match=f"Cannot listen on {host}:{port}"):
            bind(Address(host, port))


def test_takes_the_path_of_a_server_that_is_gone(tmp_path: Path) -> None:
    """A socket that was left behind makes room."""
    path = tmp_path / "left.sock"
    bind(path).close()
    with bind(path):
        assert path.is_socket()


def test_leaves_what_is_no_socket(tmp_path: Path) -> None:
    """A file in the way stays, and is told."""
    path = tmp_path / "notes"
    path.write_text("kept")
    with pytest.raises(InvalidSettings, match="Cannot listen"):
        bind(path)
    assert path.read_text() == "kept"
