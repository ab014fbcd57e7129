"""Identity: who a server is, from whatever the properties name."""

from __future__ import annotations

import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

from torchloom_api.settings import InvalidSettings
from torchloom_api.torchserve import identity as identity_module
from torchloom_api.torchserve.frontend_settings import FrontendSettings
from torchloom_api.torchserve.identity import read_identity


pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def pem(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Give a private key and its certificate, as files."""
    folder = tmp_path_factory.mktemp("pem")
    made = read_identity(FrontendSettings())
    key, chain = folder / "key.pem", folder / "chain.pem"
    key.write_bytes(made.key)
    chain.write_bytes(made.chain)
    return key, chain


def _openssl(*words: str) -> None:
    subprocess.run(["openssl", *words], check=True, capture_output=True)


def _settings(**named: object) -> FrontendSettings:
    given = {name: str(value) for name, value in named.items()}
    return FrontendSettings(**given)  # type: ignore[arg-type]  # tests give any


def test_reads_files(pem: tuple[Path, Path]) -> None:
    """TLS below 1.2 is refused."""
    key, chain = pem
    identity = read_identity(_settings(private_key_file=key, certificate_file=chain))

    assert identity.key == key.read_bytes()
    assert not identity.is_made_up
    assert identity.to_context().minimum_version is ssl.TLSVersion.TLSv1_2
    assert "PRIVATE" not in repr(identity)


@pytest.mark.parametrize("options", [(), ("-legacy",)])
def test_opens_a_keystore(pem: tuple[Path, Path], tmp_path: Path, options: tuple[str, ...]) -> None:
    """Also one that is encrypted as older ones are."""
    key, chain = map(str, pem)
    store = tmp_path / "keys.p12"
    words = ("-inkey", key, "-in", chain, "-out", str(store), "-passout", "pass:sesame", *options)
    _openssl("pkcs12", "-export", *words)

    for kind in ("PKCS12", "JKS"):  # Java opens it under either name
        named = _settings(keystore=store, keystore_pass="sesame", keystore_type=kind)
        read_identity(named).to_context()


def test_makes_an_identity_where_none_is_named() -> None:
    """As TorchServe does; it says so."""
    made = read_identity(FrontendSettings())

    assert made.is_made_up
    made.to_context()


@pytest.mark.parametrize(
    ("named", "message"),
    [
        ({"private_key_file": "KEY"}, "needs the property 'certificate_file', too"),
        ({"certificate_file": "CHAIN"}, "needs the property 'private_key_file', too"),
        ({"private_key_file": "gone.pem", "certificate_file": "CHAIN"}, "No such file"),
        ({"keystore": "gone.p12"}, "there is no file 'gone.p12'"),
        ({"keystore": "KEY", "keystore_type": "JKS"}, "Cannot open the keystore .* with keystore"),
        ({"keystore": "KEY"}, "Cannot open the keystore .* with keystore_pass.*Name PEM files"),
    ],
)
def test_refuses_what_is_none(pem: tuple[Path, Path], named: dict[str, str], message: str) -> None:
    """And says what to do."""
    places = {"KEY": pem[0], "CHAIN": pem[1]}
    with pytest.raises(InvalidSettings, match=message):
        read_identity(
            _settings(**{name: places.get(value, value) for name, value in named.items()})
        )


def test_refuses_a_key_that_does_not_fit_or_is_encrypted(
    pem: tuple[Path, Path], tmp_path: Path
) -> None:
    """Nobody is asked for a password."""
    key, chain = pem
    locked = tmp_path / "locked.pem"
    _openssl("pkey", "-in", str(key), "-aes256", "-passout", "pass:x", "-out", str(locked))
    for bad in (locked, chain):
        named = _settings(private_key_file=bad, certificate_file=chain)
        identity = read_identity(named)
        if bad is chain:
            identity = read_identity(_settings(private_key_file=key, certificate_file=locked))
        with pytest.raises(InvalidSettings, match="do not go together"):
            identity.to_context()


def test_says_so_where_openssl_is_not_there(monkeypatch: pytest.MonkeyPatch) -> None:
    """What to do instead needs no other program."""
    monkeypatch.setenv("PATH", "")
    with pytest.raises(InvalidSettings, match=r"`openssl` is not there.*private_key_file"):
        identity_module.read_identity(FrontendSettings())
