"""JavaKeystore: the private key and the certificates in a keystore of Java's own kind (JKS).

Read without Java. The format is undocumented but old and fixed: entries, then a hash over all that
stands before it. Its cipher is as weak as its password. Knows no properties.
"""

from __future__ import annotations

import hashlib
import hmac
import struct
from base64 import encodebytes
from dataclasses import dataclass, field
from io import BytesIO
from typing import Final, Self


MAGIC: Final = b"\xfe\xed\xfe\xed"

_KEY: Final = 1
_CERTIFICATE: Final = 2

#: Stands between password and content where the content is hashed.
_SALT: Final = b"Mighty Aphrodite"

_HASH_BYTES: Final = 20

_VERSIONS: Final = (1, 2)

#: 1.3.6.1.4.1.42.2.17.1.1 in DER: the one cipher that Java has for keys in such a store.
_CIPHER: Final = bytes.fromhex("2b060104012a02110101")

#: A DER length from here on says in how many bytes the length itself follows.
_LONG: Final = 0x80


class BadKeystore(Exception):
    """Why a keystore cannot be read, as a sentence."""


@dataclass(frozen=True, slots=True)
class JavaKeystore:
    """PEM: the first key that there is, and its certificates, its own first."""

    key: bytes = field(repr=False)
    chain: bytes

    @classmethod
    def read(cls, content: bytes, password: str) -> Self:
        """Read a keystore whose key has the same password. Raises BadKeystore."""
        secret = password.encode("utf-16-be")
        body, told = content[:-_HASH_BYTES], content[-_HASH_BYTES:]
        if not hmac.compare_digest(_hash(secret + _SALT + body), told):
            raise BadKeystore("the password is wrong, or the file is damaged.")
        try:
            locked, chain = _find_key(BytesIO(body))
            key = _unlock(locked, secret)
        except (struct.error, IndexError) as error:
            raise BadKeystore("it is cut short.") from error
        certificates = b"".join(_to_pem("CERTIFICATE", each) for each in chain)
        return cls(_to_pem("PRIVATE KEY", key), certificates)


def _find_key(file: BytesIO) -> tuple[bytes, list[bytes]]:
    """Give the first key, still locked, and its certificates."""
    _, version, count = struct.unpack(">4sII", file.read(12))
    if version not in _VERSIONS:
        raise BadKeystore(f"its version, {version}, is unknown: 1 and 2 are read.")
    for _ in range(count):
        (tag,) = struct.unpack(">I", file.read(4))
        _read_text(file)  # the alias
        file.read(8)  # when it was made
        if tag == _KEY:
            locked = _read_block(file)
            (length,) = struct.unpack(">I", file.read(4))
            return locked, [_read_certificate(file, version) for _ in range(length)]
        if tag != _CERTIFICATE:
            raise BadKeystore(f"it has an entry of an unknown kind, {tag}.")
        _read_certificate(file, version)
    raise BadKeystore("there is no private key in it.")


def _read_text(file: BytesIO) -> bytes:
    (length,) = struct.unpack(">H", file.read(2))
    return file.read(length)


def _read_block(file: BytesIO) -> bytes:
    (length,) = struct.unpack(">I", file.read(4))
    block = file.read(length)
    if len(block) < length:
        raise BadKeystore("it is cut short.")
    return block


def _read_certificate(file: BytesIO, version: int) -> bytes:
    if version > 1:
        _read_text(file)  # its kind: X.509
    return _read_block(file)


def _unlock(locked: bytes, secret: bytes) -> bytes:
    """Take the key out of PKCS #8's envelope, and Java's cipher off it."""
    algorithm, envelope = _element(_element(locked)[0])
    cipher = _element(algorithm)[0]
    if cipher != _CIPHER:
        raise BadKeystore(f"its key is locked by an unknown cipher, {cipher.hex()} in DER.")
    sealed = _element(envelope)[0]
    salt, rest, told = (
        sealed[:_HASH_BYTES],
        sealed[_HASH_BYTES:-_HASH_BYTES],
        sealed[-_HASH_BYTES:],
    )
    stream = b""
    block = salt
    while len(stream) < len(rest):
        block = _hash(secret + block)
        stream += block
    key = bytes(one ^ other for one, other in zip(rest, stream, strict=False))
    if not hmac.compare_digest(_hash(secret + key), told):
        raise BadKeystore("its key has another password. Both must be keystore_pass.")
    return key


def _element(der: bytes) -> tuple[bytes, bytes]:
    """Give the content of the first element, and what follows it."""
    length, at = der[1], 2
    if length >= _LONG:
        at += length - _LONG
        length = int.from_bytes(der[2:at], "big")
    return der[at : at + length], der[at + length :]


def _hash(content: bytes) -> bytes:
    return hashlib.sha1(content, usedforsecurity=False).digest()  # the format has no other


def _to_pem(name: str, der: bytes) -> bytes:
    return f"-----BEGIN {name}-----\n{encodebytes(der).decode()}-----END {name}-----\n".encode()
