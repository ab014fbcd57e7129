"""TokenFile: three keys in `key_file.json`, made new at each start. Knows no route.

One lets ask, one lets register, and the third, called API, gives out new ones of the first two.
"""

from __future__ import annotations

import hmac
import json
import os
import secrets
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal, get_args

from torchloom_api.settings import InvalidSettings


#: What a key lets do; `API` gives out new keys.
TokenKind = Literal["inference", "management", "API"]

#: What a new key can be asked for.
RENEWABLE: Final = frozenset({"inference", "management"})

#: 48 bits are eight characters.
_KEY_BYTES: Final = 6

_SCHEME: Final = "Bearer "


@dataclass(frozen=True, slots=True, kw_only=True)
class Token:
    """A key, and the second since 1970 at which it ends; None: it does not."""

    key: str
    expires_at: float | None

    def to_document(self) -> dict[str, str]:
        """Show it as the file does."""
        document = {"key": self.key}
        if self.expires_at is not None:
            ends = datetime.fromtimestamp(self.expires_at, UTC)
            document["expiration time"] = ends.isoformat().replace("+00:00", "Z")
        return document


class TokenFile:
    """The keys of one server, and their file. `life_s`: how long those that can be renewed last.

    Raises InvalidSettings where the file cannot be written.
    """

    def __init__(self, path: Path, *, life_s: float, now: Callable[[], float] = time.time) -> None:
        self._path = path
        self._life_s = life_s
        self._now = now
        self._tokens: dict[str, Token] = {kind: self._make(kind) for kind in get_args(TokenKind)}
        try:
            self._write()
        except OSError as error:
            message = (
                f"The file of the tokens, {str(path)!r}, cannot be written: {error}. Start the "
                "server in a folder that can be, or with --disable-token-auth."
            )
            raise InvalidSettings(message) from error

    def allows(self, header: str | None, kind: TokenKind) -> bool:
        """Tell whether an `Authorization` header holds the key of a kind, and it still counts."""
        if header is None or not header.startswith(_SCHEME):
            return False
        sent = header.removeprefix(_SCHEME).strip().encode("utf-8", "replace")
        token = self._tokens[kind]
        is_it = hmac.compare_digest(sent, token.key.encode())
        return is_it and (token.expires_at is None or self._now() < token.expires_at)

    def renew(self, kind: TokenKind) -> None:
        """Make a new key of a kind; the old one counts no more."""
        self._tokens[kind] = self._make(kind)
        self._write()

    def remove(self) -> None:
        """Take the file away: the server ends."""
        self._path.unlink(missing_ok=True)

    def _make(self, kind: str) -> Token:
        expires_at = self._now() + self._life_s if kind in RENEWABLE else None
        return Token(key=secrets.token_urlsafe(_KEY_BYTES), expires_at=expires_at)

    def _write(self) -> None:
        """Write the file whole, for its owner alone."""
        shown = {k: self._tokens[k].to_document() for k in ("management", "inference", "API")}
        descriptor, temporary = tempfile.mkstemp(dir=self._path.absolute().parent, prefix=".key")
        try:
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                json.dump(shown, file, indent=2)
            Path(temporary).replace(self._path)
        except BaseException:
            Path(temporary).unlink(missing_ok=True)
            raise
