"""TLS of TorchServe and of TorchLoom: how they are told who they are, and what clients find.

Files are made by `openssl`, Java's own kind of keystore by `keytool`.
"""

from __future__ import annotations

import socket
import ssl
import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

import grpc
import httpx

from benchmarks.torchserve_requests import Port
from benchmarks.torchserve_stage import Stage


#: What config.properties says; names of files are those of `make_files`.
IDENTITIES: Final[Mapping[str, Mapping[str, str]]] = {
    "PEM": {"private_key_file": "key.pem", "certificate_file": "chain.pem"},
    "a key of OpenSSL's old form": {
        "private_key_file": "old_key.pem",
        "certificate_file": "chain.pem",
    },
    "PKCS12": {"keystore": "store.p12", "keystore_pass": "changeit", "keystore_type": "PKCS12"},
    "PKCS12 that says little": {"keystore": "store.p12"},
    "PKCS12 that is called JKS": {"keystore": "store.p12", "keystore_type": "JKS"},
    "JKS": {"keystore": "store.jks", "keystore_pass": "changeit", "keystore_type": "JKS"},
    "JKS that is called PKCS12": {"keystore": "store.jks"},
    "nothing": {},
    "PKCS12, gRPC too": {"keystore": "store.p12", "enable_grpc_ssl": "true"},
    "PEM, gRPC too": {
        "private_key_file": "key.pem",
        "certificate_file": "chain.pem",
        "enable_grpc_ssl": "true",
    },
    "a wrong password": {"keystore": "store.p12", "keystore_pass": "wrong"},
    "a keystore that is not there": {"keystore": "none.p12"},
    "a certificate that is not there": {
        "private_key_file": "key.pem",
        "certificate_file": "none.pem",
    },
    "a key that is none": {"private_key_file": "chain.pem", "certificate_file": "chain.pem"},
}

_FILES: Final = ("keystore", "private_key_file", "certificate_file")

_CIPHERS: Final = (
    "ECDHE-RSA-AES128-GCM-SHA256",
    "ECDHE-RSA-AES256-GCM-SHA384",
    "ECDHE-RSA-AES128-SHA",
    "AES128-SHA",
)

_VERSIONS: Final = (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3)

#: What is asked of each port.
_PATHS: Final[Mapping[Port, str]] = {
    "inference": "/ping",
    "management": "/models",
    "metrics": "/metrics",
}

_METHODS: Final = {
    "inference": "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Ping",
    "management": "/org.pytorch.serve.grpc.management.ManagementAPIsService/DescribeModel",
}

_HOPE_S: Final = 10.0

_MAKE: Final = """\
openssl req -x509 -nodes -days 30 -newkey rsa:2048 -keyout key.pem -out chain.pem \
-subj /CN=localhost -addext subjectAltName=DNS:localhost,IP:127.0.0.1
openssl rsa -in key.pem -traditional -out old_key.pem
openssl pkcs12 -export -inkey key.pem -in chain.pem -name ts -out store.p12 -passout pass:changeit
keytool -importkeystore -srckeystore store.p12 -srcstorepass changeit -destkeystore store.jks \
-deststoretype JKS -deststorepass changeit
"""


def make_files(folder: Path) -> None:
    """Make keys and certificates of all forms. Raises CalledProcessError."""
    folder.mkdir(exist_ok=True)
    for command in _MAKE.splitlines():
        subprocess.run(command.split(), cwd=folder, check=True, capture_output=True)


def properties_of(identity: str, folder: Path) -> dict[str, str]:
    """Write what config.properties says of an identity, with the files where they are."""
    said = IDENTITIES[identity].items()
    return {name: str(folder / text) if name in _FILES else text for name, text in said}


def speaks(stage: Stage) -> Iterator[str]:
    """Play what clients find that speak TLS, an old one, or none."""
    with httpx.Client(verify=_trusting()) as client, httpx.Client() as plain:
        for port, path in _PATHS.items():
            url = f"{stage.side.urls[port]}{path}"
            yield f"{port}: {_tell(client, url)}"
            yield f"{port}, spoken to in plain HTTP: {_tell(plain, url.replace('https:', 'http:'))}"
    place = urlsplit(stage.side.url)
    for version in _VERSIONS:
        yield f"{version.name}: {_shake_hands(place.port, version)}"
    for cipher in _CIPHERS:
        yield f"{cipher}: {_shake_hands(place.port, ssl.TLSVersion.TLSv1_2, cipher)}"
    shown = ssl.get_server_certificate(("127.0.0.1", place.port or 0))
    yield f"the certificate is its own: {shown.split() == stage.certificate.split()}"
    for name, address in zip(_METHODS, stage.side.grpc_addresses, strict=True):
        yield f"gRPC, {name}: {_call(address, name, stage.certificate)}"
        yield f"gRPC, {name}, without TLS: {_call(address, name, '')}"


def _trusting() -> ssl.SSLContext:
    """Trust anybody, as `curl --insecure` does."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def _tell(client: httpx.Client, url: str) -> str:
    try:
        answer = client.get(url)
    except httpx.HTTPError as error:
        return type(error).__name__
    return f"{answer.status_code} {' '.join(answer.text.split())} {sorted(answer.headers)}"


def _shake_hands(port: int | None, version: ssl.TLSVersion, cipher: str = "") -> str:
    """Tell whether a client of one version, and of one cipher, is taken."""
    context = _trusting()
    context.minimum_version = context.maximum_version = version
    if cipher:
        context.set_ciphers(f"{cipher}:@SECLEVEL=0")
    try:
        with (
            socket.create_connection(("127.0.0.1", port or 0), _HOPE_S) as plain,
            context.wrap_socket(plain) as secured,
        ):
            return str(secured.version())
    except OSError:
        return "refused"


def _call(address: str, name: str, certificate: str) -> str:
    """Call a method over gRPC; without a certificate, without TLS."""
    place = f"localhost:{address.rpartition(':')[2]}"
    trusted = grpc.ssl_channel_credentials(certificate.encode())
    opened = grpc.secure_channel(place, trusted) if certificate else grpc.insecure_channel(place)
    with opened as channel:
        try:
            channel.unary_unary(_METHODS[name])(b"", timeout=_HOPE_S)
        except grpc.RpcError as error:
            return str(error.code().name)
    return "OK"
