"""KeyRing: whose key a request carries, and what that may do. Knows no route and no file.

Keys themselves are held nowhere: what is compared, in constant time, is their SHA-256.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, get_args

from torchloom.errors import TorchLoomError


Scope = Literal["inference", "management", "metrics"]

#: Everything that a key may be for.
SCOPES: Final[frozenset[str]] = frozenset(get_args(Scope))

_BEARER: Final = b"bearer"


class KeyRefused(TorchLoomError):
    """The request carries no key, or none of this server's."""

    status = 401
    title = "A key is needed"


class ScopeMissing(TorchLoomError):
    """The key is good, but not for this."""

    status = 403
    title = "The key is not for this"


@dataclass(frozen=True, slots=True, kw_only=True)
class ApiKey:
    """A key, by its SHA-256, and what it is for."""

    name: str
    digest: bytes
    scopes: frozenset[str]


class KeyRing:
    """The keys of one server; without any, everybody may do everything."""

    def __init__(self, keys: Iterable[ApiKey] = ()) -> None:
        self._keys = tuple(keys)

    @property
    def is_empty(self) -> bool:
        """Whether the server asks for no key."""
        return not self._keys

    def require(self, headers: Mapping[bytes, bytes], wanted: frozenset[str]) -> None:
        """Refuse a request whose key has none of the scopes: KeyRefused or ScopeMissing."""
        if self._keys and not wanted & self._scopes(headers):
            names = " or ".join(sorted(wanted))
            message = f"This key is not for {names}: ask with one that has that scope."
            raise ScopeMissing(message)

    def allows(self, headers: Mapping[bytes, bytes], wanted: frozenset[str]) -> bool:
        """Tell whether a request may do what `require` asks for."""
        try:
            self.require(headers, wanted)
        except (KeyRefused, ScopeMissing):
            return False
        return True

    def _scopes(self, headers: Mapping[bytes, bytes]) -> frozenset[str]:
        sent = _read_key(headers)
        if sent is None:
            message = "This server asks for a key: send `Authorization: Bearer KEY`."
            raise KeyRefused(message)
        digest = hashlib.sha256(sent).digest()
        # Each is looked at, so that the time tells nothing.
        found = [key for key in self._keys if hmac.compare_digest(key.digest, digest)]
        if not found:
            raise KeyRefused("The key that was sent is none of this server's.")
        return found[0].scopes

    def __repr__(self) -> str:
        """Name the keys."""
        return f"<KeyRing {', '.join(key.name for key in self._keys) or 'without keys'}>"


def _read_key(headers: Mapping[bytes, bytes]) -> bytes | None:
    """Read `Authorization: Bearer KEY`, or else `X-API-Key: KEY`."""
    scheme, _, key = headers.get(b"authorization", b"").strip().partition(b" ")
    if scheme.lower() == _BEARER and key.strip():
        return key.strip()
    return headers.get(b"x-api-key", b"").strip() or None
