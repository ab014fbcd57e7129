"""JavaKeystore: keystores of Java's own kind, read without Java."""

from __future__ import annotations

import base64
import hashlib
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from torchloom_api.settings import InvalidSettings
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


#: In DER: Java's own cipher for such keys, and PKCS #5's second one, filled up.
SUNS_CIPHER = bytes.fromhex("2b060104012a02110101")
AES_CIPHER = bytes.fromhex("2a864886f70d01050d00")

#: The same with a trusted certificate before the key, and the password "sesam-öffne".
MIXED_STORE = base64.b64decode(
    """
/u3+7QAAAAIAAAACAAAAAgABYQAAAaIbGeLMAAVYLjUwOQAAAUYwggFCMIHooAMCAQICCQCu6hgv
XpHJUTAKBggqhkjOPQQDAjAUMRIwEAYDVQQDEwlsb2NhbGhvc3QwIBcNMjYxMTI3MDM0MzMwWhgP
MjEyNjExMDMwMzQzMzBaMBQxEjAQBgNVBAMTCWxvY2FsaG9zdDBZMBMGByqGSM49AgEGCCqGSM49
AwEHA0IABCKHn2r34Pf/+bQdLDAt65Y4g/tNeTFvAG5dVmDRi9L7C6+Vp6X+SDLbmJTlmk1H8/CM
eURZVeI2BlPP2e+6/eKjITAfMB0GA1UdDgQWBBSOj78oAqbNKAMivPJAvWNbw5DBUzAKBggqhkjO
PQQDAgNJADBGAiEApthkmFH8PdIDweRdHR6qZj6jG43widtOMkl3VF3qk+oCIQCXuwpBt8NbPBJ3
tEW5oLV+nB2Ooq29d/FNBYAAzzd1BAAAAAEAAnRzAAABohsZ4TgAAAB/MH0wDgYKKwYBBAEqAhEB
AQUABGuQhB+XeFJXsvOrj5eJgLdL47lK5X3iMGfOZgfftmzqM0vEYKNcdGVJ9um5go44/VDEFNgs
BweJ2j3dj30rCu/0Z3OhL3HymFsEwxVCBT6SCNXKpmGswUFaHXoDCWZOEmxa38370ntsOHKhzwAA
AAEABVguNTA5AAABRjCCAUIwgeigAwIBAgIJAK7qGC9ekclRMAoGCCqGSM49BAMCMBQxEjAQBgNV
BAMTCWxvY2FsaG9zdDAgFw0yNjExMjcwMzQzMzBaGA8yMTI2MTEwMzAzNDMzMFowFDESMBAGA1UE
AxMJbG9jYWxob3N0MFkwEwYHKoZIzj0CAQYIKoZIzj0DAQcDQgAEIoefavfg9//5tB0sMC3rljiD
+015MW8Abl1WYNGL0vsLr5Wnpf5IMtuYlOWaTUfz8Ix5RFlV4jYGU8/Z77r94qMhMB8wHQYDVR0O
BBYEFI6PvygCps0oAyK88kC9Y1vDkMFTMAoGCCqGSM49BAMCA0kAMEYCIQCm2GSYUfw90gPB5F0d
HqpmPqMbjfCJ204ySXdUXeqT6gIhAJe7CkG3w1s8Ene0RbmgtX6cHY6irb138U0FgADPN3UEwcUz
XSO17MG5uY4ATPSZlDXJ5Uo=
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
        (lambda: _seal(MAGIC + b"\0\0\0\3" + STORE[8:-20]), "its version, 3, is unknown"),
        (lambda: _seal(MAGIC + b"\0\0\0\0" + STORE[8:-20]), "its version, 0, is unknown"),
        (
            lambda: _seal(STORE[:-20].replace(SUNS_CIPHER, AES_CIPHER)),
            f"locked by an unknown cipher, {AES_CIPHER.hex()} in DER",
        ),
    ],
)
def test_says_what_is_wrong(make: Callable[[], bytes], reason: str) -> None:
    """Whatever is in the file."""
    password = "other" if "another" in reason else "changeit"
    with pytest.raises(BadKeystore, match=reason):
        JavaKeystore.read(make(), password)


def test_reads_a_key_behind_a_trusted_certificate() -> None:
    """With a password that is not ASCII."""
    read = JavaKeystore.read(MIXED_STORE, "sesam-öffne")

    Identity(read.key, read.chain).to_context()
    assert read.chain.count(b"BEGIN CERTIFICATE") == 1


def test_refuses_a_file_that_is_far_too_large(tmp_path: Path) -> None:
    """Before it fills the memory: no more of it is read than may be."""
    store = tmp_path / "keys.jks"
    with store.open("wb") as file:
        file.write(MAGIC)
        file.truncate(1 << 32)  # a hole: it takes no place
    with pytest.raises(InvalidSettings, match="it has more than 16777216 bytes"):
        read_identity(FrontendSettings(keystore=str(store)))


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
