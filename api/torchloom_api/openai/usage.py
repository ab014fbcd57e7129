"""Usage: how many tokens a request took. Knows no route."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Self

import msgspec

from torchloom_api.openai.generation import Answer


class PromptDetails(msgspec.Struct, frozen=True, kw_only=True):
    """Of the prompt's tokens, those that did not have to be run again."""

    cached_tokens: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of prompts, each counted once however many choices it has, and of all answers."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int
    prompt_tokens_details: PromptDetails

    @classmethod
    def of(cls, answers: Iterable[Answer], num_choices: int) -> Self:
        """Add up answers, of which so many in a row belong to one prompt."""
        answers = list(answers)
        firsts = answers[::num_choices]
        num_prompt = sum(answer.num_prompt for answer in firsts)
        num_written = sum(answer.num_written for answer in answers)
        return cls(
            prompt_tokens=num_prompt,
            completion_tokens=num_written,
            total_tokens=num_prompt + num_written,
            prompt_tokens_details=PromptDetails(
                cached_tokens=sum(answer.num_cached for answer in firsts)
            ),
        )


class EmbeddingUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of the texts that were embedded."""

    prompt_tokens: int
    total_tokens: int
