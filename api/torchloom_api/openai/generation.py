"""Generation: what answers one request, and what it tells meanwhile. Knows no form of answers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from torchloom_api.openai.citation import Citation
from torchloom_api.openai.token_logprob import ToldToken
from torchloom_api.openai.tool_call import CallDelta, ToolCall


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """A whole answer, the tokens that it took, and what it rests on.

    `logprobs` and `prompt_logprobs` are there where they are asked for.
    """

    text: str
    finish_reason: str
    num_prompt: int
    num_cached: int
    num_written: int
    citations: tuple[Citation, ...] = ()
    calls: tuple[ToolCall, ...] = ()
    logprobs: tuple[ToldToken, ...] = ()
    prompt_logprobs: tuple[ToldToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text of one answer, and the tokens that end in it."""

    index: int
    text: str
    logprobs: tuple[ToldToken, ...] = ()
    prompt_logprobs: tuple[ToldToken, ...] = ()


@dataclass(frozen=True, slots=True)
class CallPiece:
    """Some more of one answer's calls, and the tokens that end in it."""

    index: int
    deltas: tuple[CallDelta, ...]
    logprobs: tuple[ToldToken, ...] = ()


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of one answer."""

    index: int
    answer: Answer


Told = Piece | CallPiece | Finish

OnEvent = Callable[[Told], None]


class Generation(Protocol):
    """Work that ends in answers, of which `num_choices` in a row belong to one prompt."""

    @property
    def num_answers(self) -> int:
        """How many answers there will be."""
        ...

    @property
    def num_choices(self) -> int:
        """How many of them each prompt gets."""
        ...

    async def run(self, on_event: OnEvent | None = None) -> list[Answer]:
        """Give all answers. One that fails ends all; whoever cancels this cancels all the work.

        Events are told as they come; without `on_event` no piece of text crosses a process.
        """
        ...
