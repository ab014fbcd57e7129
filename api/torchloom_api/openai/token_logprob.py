"""Log probabilities of tokens: as models tell them, and in OpenAI's forms. Knows no route."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Self

import msgspec


#: The most tokens that may be asked for in place of one, as OpenAI has it.
MAX_TOP: Final = 20


class TopLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """One of the likeliest tokens at a place."""

    token: str
    bytes: Sequence[int]
    logprob: float


class TokenLogprob(msgspec.Struct, frozen=True, kw_only=True):
    """A token of an answer, and the likeliest at its place."""

    token: str
    bytes: Sequence[int]
    logprob: float
    top_logprobs: Sequence[TopLogprob] = ()


class ToldToken(msgspec.Struct, frozen=True, kw_only=True):
    """A token as models tell it: of the first of a prompt nothing is known.

    `offset` is the character of the text that it begins with.
    """

    token: str
    bytes: Sequence[int]
    logprob: float | None
    top_logprobs: Sequence[TopLogprob] = ()
    offset: int = 0


class ChatLogprobs(msgspec.Struct, frozen=True, kw_only=True):
    """The tokens of a chat's answer."""

    content: Sequence[TokenLogprob]
    refusal: None = None


class CompletionLogprobs(msgspec.Struct, frozen=True, kw_only=True):
    r"""The tokens of a completion, a column each; bytes that are no text are `bytes:\xe6`."""

    tokens: Sequence[str]
    token_logprobs: Sequence[float | None]
    top_logprobs: Sequence[Mapping[str, float] | None]
    text_offset: Sequence[int]

    @classmethod
    def of(cls, told: Iterable[ToldToken]) -> Self:
        """Write tokens in this form: the likeliest at a place, and whichever was taken."""
        told = tuple(told)
        return cls(
            tokens=[_to_name(each) for each in told],
            token_logprobs=[each.logprob for each in told],
            top_logprobs=[_to_top(each) for each in told],
            text_offset=[each.offset for each in told],
        )


def read_told(entries: object) -> tuple[ToldToken, ...]:
    """Read what a model tells; nothing where it tells nothing."""
    return msgspec.convert(entries or (), tuple[ToldToken, ...])


def to_token_logprobs(told: Iterable[ToldToken]) -> list[TokenLogprob]:
    """Write tokens of an answer as chats and responses have them."""
    return [
        TokenLogprob(
            token=each.token,
            bytes=each.bytes,
            logprob=each.logprob or 0.0,
            top_logprobs=each.top_logprobs,
        )
        for each in told
    ]


def _to_top(told: ToldToken) -> Mapping[str, float] | None:
    if told.logprob is None:
        return None
    top = {_to_name(each): each.logprob for each in told.top_logprobs}
    return top | {_to_name(told): told.logprob}


def _to_name(told: ToldToken | TopLogprob) -> str:
    is_text = bytes(told.bytes) == told.token.encode()
    return told.token if is_text else f"bytes:{told.token}"
