"""Which keys a server takes, as its operator writes them."""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

import pytest

from torchloom_api.key_file import load_keys
from torchloom_api.key_ring import SCOPES
from torchloom_api.settings import InvalidSettings


DIGEST = hashlib.sha256(b"k1").hexdigest()

GOOD = f"""
keys:
  - {{name: app, sha256: {DIGEST}, scopes: [inference]}}
  - {{name: ops, env: OPS_KEY, scopes: [management, metrics]}}
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """Give a file that its owner alone can read."""
    file = tmp_path / "keys.yaml"
    file.touch(0o600)
    return file


def test_reads_hashes_and_variables(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """A key stands as its SHA-256, or in the environment."""
    file.write_text(GOOD)
    ring = load_keys(str(file), {"OPS_KEY": "k2", "TORCHLOOM_API_KEY": "k3"})

    assert ring.allows({b"x-api-key": b"k1"}, frozenset({"inference"}))
    assert not ring.allows({b"x-api-key": b"k1"}, frozenset({"metrics"}))
    assert ring.allows({b"x-api-key": b"k2"}, frozenset({"metrics"}))
    # With a file the variable is what clients send, and no key of the server.
    assert not ring.allows({b"x-api-key": b"k3"}, frozenset({"inference"}))
    assert caplog.text == ""


def test_takes_one_key_from_the_environment() -> None:
    """For everything; an empty one is none."""
    ring = load_keys(None, {"TORCHLOOM_API_KEY": "k1"})

    assert all(ring.allows({b"x-api-key": b"k1"}, frozenset({scope})) for scope in SCOPES)
    assert not ring.allows({}, SCOPES)
    assert load_keys(None, {}).is_empty
    assert load_keys(None, {"TORCHLOOM_API_KEY": ""}).is_empty


def test_warns_of_a_file_that_everybody_reads(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    """It serves, and says how to mend it."""
    file.write_text(GOOD)
    file.chmod(0o644)
    with caplog.at_level(logging.WARNING):
        load_keys(str(file), {"OPS_KEY": "k2"})

    assert "chmod o-r" in caplog.text


KEY = f"name: a, sha256: {DIGEST}, scopes: [metrics]"


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("keys: [", "cannot be read"),
        ("[]", "`keys:` and a list"),
        ("keys: []", "`keys:` and a list"),
        (f"keys: [{{{KEY}}}]\nmore: 1", "`keys:` and a list"),
        ("keys: [app]", "has a name"),
        (f"keys: [{{sha256: {DIGEST}, scopes: [metrics]}}]", "needs a name"),
        ("keys: [{name: a, scopes: [metrics]}]", "either sha256 or env"),
        (f"keys: [{{{KEY}, env: X}}]", "either sha256 or env"),
        ("keys: [{name: a, sha256: my-secret, scopes: [metrics]}]", "64 hexadecimal"),
        ("keys: [{name: a, env: NOWHERE, scopes: [metrics]}]", "'NOWHERE'"),
        ("keys: [{name: a, env: [1], scopes: [metrics]}]", "is not set"),
        (f"keys: [{{name: a, sha256: {DIGEST}}}]", "needs scopes"),
        (f"keys: [{{name: a, sha256: {DIGEST}, scopes: [metric]}}]", "Did you mean 'metrics'"),
        (f"keys: [{{{KEY}, scope: [x]}}]", "Did you mean 'scopes'"),
        (f"keys: [{{{KEY}}}, {{name: a, env: K, scopes: [metrics]}}]", "Two keys have the name"),
        (f"keys: [{{{KEY}}}, {{{KEY.replace('name: a', 'name: b')}}}]", "under another name"),
    ],
)
def test_says_what_is_wrong(file: Path, text: str, says: str) -> None:
    """Before anything starts, with the place, and without repeating what may be a key."""
    file.write_text(text)
    with pytest.raises(InvalidSettings, match=says) as wrong:
        load_keys(str(file), {"K": "k"})

    assert wrong.value.faults[0].file == str(file)
    assert "my-secret" not in str(wrong.value)


def test_needs_the_file(tmp_path: Path) -> None:
    """A file that is not there is no server without keys."""
    with pytest.raises(InvalidSettings, match="cannot be read: No such file"):
        load_keys(str(tmp_path / "none.yaml"), {})
