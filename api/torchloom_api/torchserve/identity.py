"""Identity: the private key and the certificates by which a server proves who it is.

From PEM files, or from a keystore: of Java's own kind, or PKCS12, which the program `openssl`
opens. Where nothing is named, `openssl` makes one that nobody vouches for. Opens no port.
"""

from __future__ import annotations

import os
import re
import ssl
import subprocess
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.java_keystore import MAGIC, BadKeystore, JavaKeystore


#: Under this name `openssl` is told a password: an argument could be read by anybody.
_PASSWORD: Final = "TORCHLOOM_KEYSTORE_PASS"  # noqa: S105 - a name, no password

_KEY: Final = re.compile(rb"-----BEGIN [A-Z ]*PRIVATE KEY-----[^-]+-----END [^-]+-----\n")
_CERTIFICATE: Final = re.compile(rb"-----BEGIN CERTIFICATE-----[^-]+-----END [^-]+-----\n")

_MAX_SAID: Final = 300

#: A keystore of Java's own kind may be so large: one with all public authorities has 200 KiB.
_MAX_STORE_BYTES: Final = 16 * 1024 * 1024

_MAKE: Final = (
    "req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost "
    "-addext subjectAltName=DNS:localhost,IP:127.0.0.1 -keyout - -out -"
)


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM: a private key that is not encrypted, and the certificates, the server's own first."""

    key: bytes = field(repr=False)
    chain: bytes
    is_made_up: bool = False

    def to_context(self) -> ssl.SSLContext:
        """Make what connections are opened with: TLS 1.2 or newer. Raises InvalidSettings."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.set_alpn_protocols(["http/1.1"])
        with tempfile.TemporaryDirectory() as folder:  # its mode keeps others out
            chain, key = Path(folder) / "chain.pem", Path(folder) / "key.pem"
            chain.write_bytes(self.chain)
            key.write_bytes(self.key)
            try:
                context.load_cert_chain(chain, key, password=_no_password)
            except (ssl.SSLError, ValueError) as error:
                raise InvalidSettings(_UNFIT.format(error)) from error
        return context


_UNFIT: Final = (
    "The private key and the certificate do not go together, or are no PEM: {}. The key must not "
    "be encrypted (`openssl pkey -in KEY -out PLAIN`), and the first certificate must be its own."
)


def _no_password() -> str:
    raise ValueError("the private key is encrypted")


def read_identity(settings: FrontendSettings) -> Identity:
    """Read what the properties name, or make an identity. Raises InvalidSettings."""
    if settings.keystore is not None:
        return _read_keystore(Path(settings.keystore), settings)
    if settings.private_key_file is None and settings.certificate_file is None:
        made = _ask_openssl(_MAKE.split(), "Cannot make a certificate")
        return Identity(key=_part(made, _KEY), chain=_part(made, _CERTIFICATE), is_made_up=True)
    key = _read(settings.private_key_file, "private_key_file")
    chain = _read(settings.certificate_file, "certificate_file")
    return Identity(key=key, chain=chain)


def _read(path: str | None, name: str) -> bytes:
    if path is None:
        message = (
            f"https needs the property {name!r}, too: private_key_file and certificate_file, or "
            "keystore."
        )
        raise InvalidSettings(message)
    try:
        return Path(path).read_bytes()
    except OSError as error:
        message = f"The property {name!r}: {path}: {error.strerror or error}."
        raise InvalidSettings(message) from error


def _read_keystore(path: Path, settings: FrontendSettings) -> Identity:
    if not path.is_file():
        message = f"The property 'keystore': there is no file {str(path)!r}."
        raise InvalidSettings(message)
    try:
        content = _read_javas(path)
        if content is not None:
            read = JavaKeystore.read(content, settings.keystore_pass)
            return Identity(key=read.key, chain=read.chain)
    except (OSError, BadKeystore) as error:
        message = f"Cannot open the keystore {str(path)!r} with keystore_pass: {error}"
        raise InvalidSettings(message) from error
    opening = ["pkcs12", "-in", str(path), "-nodes", "-passin", f"env:{_PASSWORD}"]
    failure = f"Cannot open the keystore {str(path)!r} with keystore_pass"
    password = settings.keystore_pass
    try:
        own = _ask_openssl([*opening, "-clcerts"], failure, password)
    except InvalidSettings:
        # Older keystores are encrypted by what OpenSSL 3 knows only when it is asked to.
        opening.append("-legacy")
        own = _ask_openssl([*opening, "-clcerts"], failure, password)
    others = _ask_openssl([*opening, "-cacerts", "-nokeys"], failure, password)
    chain = _part(own, _CERTIFICATE) + _part(others, _CERTIFICATE)
    return Identity(key=_part(own, _KEY), chain=chain)


def _read_javas(path: Path) -> bytes | None:
    """Read a keystore of Java's own kind, whatever keystore_type calls it: Java looks, too.

    None where it is another. Raises OSError and BadKeystore.
    """
    with path.open("rb") as file:
        magic = file.read(len(MAGIC))
        if magic != MAGIC:
            return None
        content = magic + file.read(_MAX_STORE_BYTES)
    if len(content) > _MAX_STORE_BYTES:
        raise BadKeystore(f"it has more than {_MAX_STORE_BYTES} bytes.")
    return content


def _part(pem: bytes, kind: re.Pattern[bytes]) -> bytes:
    """Give all of one kind."""
    return b"".join(kind.findall(pem))


def _ask_openssl(words: Sequence[str], failure: str, password: str = "") -> bytes:
    instead = "Name PEM files instead: private_key_file and certificate_file."
    try:
        done = subprocess.run(  # noqa: S603 - no shell, and the words are ours
            ["openssl", *words],  # noqa: S607 - wherever it is installed
            env={**os.environ, _PASSWORD: password},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=False,
        )
    except OSError as error:
        message = f"{failure}: the program `openssl` is not there. {instead}"
        raise InvalidSettings(message) from error
    if done.returncode:
        said = " ".join(done.stderr.decode(errors="replace").split())[-_MAX_SAID:]
        raise InvalidSettings(f"{failure}: {said} {instead}")
    return done.stdout
