"""JavaKeystore: keystores of Java's own kind, read without Java."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.identity import Identity, read_identity
from torchloom_api.torchserve.java_keystore import MAGIC, BadKeystore, JavaKeystore


#: Made by Java 17: `keytool -genkeypair -keyalg EC -storetype JKS -storepass changeit …`.
STORE = base64.b64decode(
    """
/u3+7QAAAAIAAAABAAAAAQACdHMAAAGiGt3cQAAAAH8wfTAOBgorBgEEASoCEQEBBQAEaxnPxt0f
1Afv+CiAx4jUN5Sogabj2RcWICQLIM2lf5fc+AjlUWItkIwGYCRLE+ZVn9zx7zkqCu3odFgPtlEq
Em+2vdyPDLQ42bsnWGg7VMoiiCBN9+gYZu6A7LxFIJhu0e+1+PwCPm7kHnJmAAAAAQAFWC41MDkA
AAFFMIIBQTCB6KADAgECAgkAyIK8Bu62mTwwCgYIKoZIzj0EAwIwFDESMBAGA1UEAxMJbG9jYWxo
b3N0MCAXDTI2MTEyNzAyMzc1N1oYDzIxMjYxMTAzMDIzNzU3WjAUMRIwEAYDVQQDEwlsb2NhbGhv
c3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNCAATNvYnKkM9YxBgVbYzxmMqTn1PouMvmw358UGWc
Szv3vJXYsLDTZVZYm7ggW0CUMKALKAwlN34uAnb6D1+tcw6loyEwHzAdBgNVHQ4EFgQUg3I6sUAy
5UeLLccf7ol/Nurty1wwCgYIKoZIzj0EAwIDSAAwRQIgbKWwAou+aVHvj28tDGA0Ooh94Z5uV/hc
w8AbjgrpTQ0CIQDzm2Rf6F4J2APCMOchie+KtEt8lvkZdGi7MvEWje1ax15fEo87vgyBUsLe8kUi
iiJJOzYp
"""
)


def _seal(body: bytes, password: str = "changeit") -> bytes:
    """Put the hash behind a content, as Java does."""
    secret = password.encode("utf-16-be")
    return body + hashlib.sha1(secret + b"Mighty Aphrodite" + body).digest()


def test_reads_the_key_and_its_certificate() -> None:
    """They go together, and the key is in no log."""
    read = JavaKeystore.read(STORE, "changeit")

    Identity(read.key, read.chain).to_context()
    assert read.chain.count(b"BEGIN CERTIFICATE") == 1
    assert "PRIVATE" not in repr(read)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: STORE[:-30] + STORE[-20:], "the password is wrong, or the file is damaged"),
        (lambda: b"", "the password is wrong, or the file is damaged"),
        (lambda: _seal(MAGIC + b"\0\0\0\2" + b"\0\0\0\0"), "there is no private key"),
        (lambda: _seal(STORE[:-20][:40]), "it is cut short"),
        (lambda: _seal(STORE[:-20][:200]), "it is cut short"),
        (lambda: _seal(MAGIC + b"\0\0\0\2\xff\xff\xff\xff"), "it is cut short"),
        (
            lambda: _seal(MAGIC + b"\0\0\0\2\0\0\0\1\0\0\0\7" + bytes(10)),
            "an entry of an unknown kind, 7",
        ),
        (lambda: _seal(STORE[:-20], "other"), "its key has another password"),
    ],
)
def test_says_what_is_wrong(make: Callable[[], bytes], reason: str) -> None:
    """Whatever is in the file."""
    password = "other" if "another" in reason else "changeit"
    with pytest.raises(BadKeystore, match=reason):
        JavaKeystore.read(make(), password)


@pytest.mark.parametrize("kind", ["JKS", "PKCS12"])
def test_is_an_identity_whatever_it_is_called(tmp_path: Path, kind: str) -> None:
    """Java looks into the file, too, and not at keystore_type alone."""
    store = tmp_path / "keys.jks"
    store.write_bytes(STORE)
    settings = FrontendSettings(keystore=str(store), keystore_type=kind)  # type: ignore[arg-type]  # one of two

    read_identity(settings).to_context()


@pytest.mark.skipif(shutil.which("keytool") is None, reason="needs Java's keytool")
def test_reads_what_keytool_makes(tmp_path: Path) -> None:
    """An RSA key among trusted certificates, with a password that is not ASCII."""
    store = tmp_path / "keys.jks"
    common = ["-keystore", str(store), "-storepass", "sesam-öffne", "-storetype", "JKS"]
    make = ["keytool", "-genkeypair", "-keyalg", "RSA", "-alias", "ts", "-dname", "CN=localhost"]
    subprocess.run([*make, *common], check=True, capture_output=True)
    shown = ["keytool", "-exportcert", "-alias", "ts", "-file", str(tmp_path / "own.der"), *common]
    subprocess.run(shown, check=True, capture_output=True)
    trust = [
        "keytool",
        "-importcert",
        "-alias",
        "a",
        "-noprompt",
        "-file",
        str(tmp_path / "own.der"),
    ]
    subprocess.run([*trust, *common], check=True, capture_output=True)

    read = JavaKeystore.read(store.read_bytes(), "sesam-öffne")
    Identity(read.key, read.chain).to_context()
