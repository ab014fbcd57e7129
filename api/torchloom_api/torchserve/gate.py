"""Gate: whether a request has the token that its route asks for, in TorchServe's way and in ours.

TorchServe's routes answer 400; the native routes on the same ports are behind the same tokens.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from torchloom_api.key_ring import KeyRefused, KeyRing, ScopeMissing
from torchloom_api.torchserve.frontend_error import FrontendError
from torchloom_api.torchserve.request import Request
from torchloom_api.torchserve.token_file import RENEWABLE, TokenFile, TokenKind


_HOW: Final = "Token either incorrect, expired, or not provided correctly"
_BAD_REQUEST: Final = 400
_UNAUTHORIZED: Final = 401


class Gate:
    """Lets requests through, all of them where there are no tokens."""

    def __init__(self, tokens: TokenFile | None, *, is_401: bool = False) -> None:
        self._tokens = tokens
        self._status = _UNAUTHORIZED if is_401 else _BAD_REQUEST

    @property
    def is_open(self) -> bool:
        """Tell whether no token is asked for."""
        return self._tokens is None

    def require(self, request: Request, kinds: Iterable[TokenKind]) -> None:
        """Refuse a request that has the token of none of these kinds."""
        if self._tokens is not None:
            self.require_token(request.header("authorization"), kinds)

    def require_token(self, sent: str | None, kinds: Iterable[TokenKind]) -> None:
        """Refuse what was sent as `Authorization`, unless it is the token of one of these kinds."""
        if self._tokens is None:
            return
        if not any(self._tokens.allows(sent, kind) for kind in kinds):
            raise self._refusal("Authorization")

    def renew(self, request: Request) -> None:
        """Give out a new token of the kind that the query names, to who has the API's key."""
        kind = request.parameter("type")
        tokens = self._tokens
        assert tokens is not None, "there is no such route without tokens"
        is_known = kind in RENEWABLE
        if not tokens.allows(request.header("authorization"), "API") or not is_known:
            raise self._refusal("Authentication")
        tokens.renew("inference" if kind == "inference" else "management")

    def _refusal(self, what: str) -> FrontendError:
        challenge = [("WWW-Authenticate", "Bearer")] if self._status == _UNAUTHORIZED else []
        return FrontendError(
            self._status, "InvalidKeyException", f"Token {what} failed. {_HOW}", headers=challenge
        )


class TokenRing(KeyRing):
    """The tokens as native routes ask for keys: scopes and tokens have the same names."""

    def __init__(self, tokens: TokenFile) -> None:
        super().__init__()
        self._tokens = tokens

    @property
    def is_empty(self) -> bool:
        """Whether the server asks for no key."""
        return False

    def require(self, headers: Mapping[bytes, bytes], wanted: frozenset[str]) -> None:
        """Refuse a request that has none of the tokens; metrics are open here."""
        if "metrics" in wanted:
            return
        sent = headers.get(b"authorization")
        header = None if sent is None else sent.decode("latin-1")
        kinds: tuple[TokenKind, ...] = ("inference", "management")
        held = [kind for kind in kinds if self._tokens.allows(header, kind)]
        if not held:
            message = "This server asks for a token: send `Authorization: Bearer TOKEN`."
            raise KeyRefused(message)
        if not wanted & set(held):
            names = " or ".join(sorted(wanted))
            raise ScopeMissing(f"This token is not for {names}: ask with one that is.")
