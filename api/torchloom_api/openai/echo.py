"""EchoedGeneration: answers that begin with their prompts. Knows no model and no form of them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final

from msgspec.structs import replace as replace_fields

from torchloom_api.openai.generation import (
    Answer,
    CallPiece,
    Finish,
    Generation,
    OnEvent,
    Piece,
    Told,
)
from torchloom_api.openai.token_logprob import ToldToken


#: How many bytes of a prompt may lie between two tokens: some tokenizers leave signs out.
_MAX_GAP: Final = 16


@dataclass(frozen=True, slots=True, kw_only=True)
class EchoedGeneration:
    """A Generation over another: `prompts` holds the prompt of each answer.

    A prompt is told when its answer begins, so that what is refused before is not answered with it.
    """

    inner: Generation
    prompts: Sequence[str]

    @property
    def num_answers(self) -> int:
        """How many answers there will be."""
        return self.inner.num_answers

    @property
    def num_choices(self) -> int:
        """How many of them each prompt gets."""
        return self.inner.num_choices

    async def run(self, on_event: OnEvent | None = None) -> list[Answer]:
        """Give all answers."""
        answers = await self.inner.run(None if on_event is None else self._teller(on_event))
        return [self._echo(index, answer) for index, answer in enumerate(answers)]

    def _teller(self, on_event: OnEvent) -> OnEvent:
        begun: set[int] = set()

        def tell(event: Told) -> None:
            if isinstance(event, CallPiece):
                return  # raw text calls no tools
            index = event.index
            source = event if isinstance(event, Piece) else event.answer
            if index not in begun:
                begun.add(index)
                prompt = self.prompts[index]
                on_event(Piece(index, prompt, tuple(place(prompt, source.prompt_logprobs))))
            if isinstance(event, Finish):
                on_event(Finish(index, self._echo(index, event.answer)))
            elif event.text or event.logprobs:
                on_event(Piece(index, event.text, self._behind(index, event.logprobs)))

        return tell

    def _echo(self, index: int, answer: Answer) -> Answer:
        prompt = self.prompts[index]
        before = tuple(place(prompt, answer.prompt_logprobs))
        logprobs = before + self._behind(index, answer.logprobs)
        return replace(answer, text=prompt + answer.text, logprobs=logprobs)

    def _behind(self, index: int, told: Iterable[ToldToken]) -> tuple[ToldToken, ...]:
        length = len(self.prompts[index])
        return tuple(replace_fields(each, offset=length + each.offset) for each in told)


def place(prompt: str, told: Iterable[ToldToken]) -> Iterator[ToldToken]:
    """Find where each token of a prompt begins in it.

    Tokens that do not stand in the text, such as one for its beginning, begin with the next.
    """
    content, at = prompt.encode(), 0
    for each in told:
        token = bytes(each.bytes)
        # A tokenizer may put a space before the text.
        if not content.startswith(token, at) and token[:1] == b" ":
            token = token[1:]
        found = content.find(token, at, at + len(token) + _MAX_GAP)
        offset = at if found < 0 else found
        yield replace_fields(each, offset=len(content[:offset].decode(errors="ignore")))
        at = offset + len(token) if found >= 0 else at
