"""Whose key a request carries, and what that may do."""

from __future__ import annotations

import hashlib
import hmac

import pytest

from torchloom_api.key_ring import ApiKey, KeyRefused, KeyRing, ScopeMissing


INFERENCE = frozenset({"inference"})
MANAGEMENT = frozenset({"management"})


def _ring() -> KeyRing:
    keys = {"app": INFERENCE, "ops": frozenset({"management", "metrics"})}
    return KeyRing(
        ApiKey(name=name, digest=hashlib.sha256(name.encode()).digest(), scopes=scopes)
        for name, scopes in keys.items()
    )


@pytest.mark.parametrize(
    "headers",
    [
        {b"authorization": b"Bearer app"},
        {b"authorization": b"bearer  app "},
        {b"x-api-key": b"app"},
        {b"authorization": b"Basic eDp5", b"x-api-key": b"app"},
    ],
)
def test_knows_a_key(headers: dict[bytes, bytes]) -> None:
    """As a bearer token, whatever the case of the scheme, or by the other header."""
    _ring().require(headers, INFERENCE)
    _ring().require(headers, INFERENCE | MANAGEMENT)


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {b"authorization": b""},
        {b"authorization": b"Bearer"},
        {b"authorization": b"app"},
        {b"authorization": b"Bearer ap"},
        {b"authorization": b"Bearer \xff\x00"},
        {b"x-api-key": b"other"},
    ],
)
def test_refuses_who_has_none(headers: dict[bytes, bytes]) -> None:
    """Without a key, or with one that is not there; what was sent is not repeated."""
    with pytest.raises(KeyRefused) as refused:
        _ring().require(headers, INFERENCE)

    assert "other" not in refused.value.message
    assert not _ring().allows(headers, INFERENCE)


def test_refuses_what_a_key_is_not_for() -> None:
    """The scope that is lacking is named."""
    with pytest.raises(ScopeMissing, match="not for management"):
        _ring().require({b"x-api-key": b"app"}, MANAGEMENT)
    assert not _ring().allows({b"x-api-key": b"app"}, MANAGEMENT)
    assert _ring().allows({b"x-api-key": b"ops"}, MANAGEMENT)


def test_asks_for_nothing_without_keys() -> None:
    """A server without keys is open to whoever reaches it."""
    KeyRing().require({}, MANAGEMENT)

    assert KeyRing().is_empty
    assert not _ring().is_empty


def test_compares_with_every_key_in_constant_time(monkeypatch: pytest.MonkeyPatch) -> None:
    """The time does not tell which key came near."""
    seen: list[bytes] = []
    compare = hmac.compare_digest

    def note(one: bytes, other: bytes) -> bool:
        seen.append(one)
        return compare(one, other)

    monkeypatch.setattr(hmac, "compare_digest", note)
    _ring().allows({b"x-api-key": b"app"}, INFERENCE)

    assert len(seen) == 2


def test_shows_names_alone() -> None:
    """A log may hold it."""
    assert repr(_ring()) == "<KeyRing app, ops>"
    assert repr(KeyRing()) == "<KeyRing without keys>"
