"""Addresses of TorchServe's ports."""

from __future__ import annotations

import pytest

from torchloom_api.torchserve.listen_address import ListenAddress, Scope


@pytest.mark.parametrize(
    ("text", "scope", "scheme", "host", "port"),
    [
        ("http://127.0.0.1:8080", "inference", "http", "127.0.0.1", 8080),
        ("https://0.0.0.0", "inference", "https", "0.0.0.0", 443),
        ("https://0.0.0.0", "management", "https", "0.0.0.0", 8444),
        ("https://0.0.0.0/", "metrics", "https", "0.0.0.0", 8445),
        ("http://localhost", "inference", "http", "localhost", 80),
        ("http://[::1]:9", "metrics", "http", "::1", 9),
        ("unix:/tmp/a.sock", "metrics", "unix", "/tmp/a.sock", 0),
        ("HTTPS://h:9", "metrics", "https", "h", 9),
        ("Unix:/tmp/A.sock", "metrics", "unix", "/tmp/A.sock", 0),
    ],
)
def test_reads_an_address(text: str, scope: Scope, scheme: str, host: str, port: int) -> None:
    """An address without a port has one by scheme and scope."""
    address = ListenAddress.parse(text, scope)
    assert (address.scheme, address.host, address.port) == (scheme, host, port)
    assert ListenAddress.parse(str(address), scope) == address


@pytest.mark.parametrize(
    "text",
    [
        "",
        "127.0.0.1:8080",
        "ftp://x:1",
        "http://",
        "http://a:b",
        "unix:",
        "http://a:1/x",
        "http://::1:9",
    ],
)
def test_refuses_what_is_no_address(text: str) -> None:
    """The words are TorchServe's, and the forms that there are follow."""
    with pytest.raises(ValueError, match=r"^Invalid binding address: "):
        ListenAddress.parse(text, "inference")


def test_refuses_a_port_that_is_none() -> None:
    """Ports end at 65535."""
    with pytest.raises(ValueError, match="Invalid port number"):
        ListenAddress.parse("http://a:65536", "inference")
