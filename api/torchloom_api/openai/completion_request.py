"""CompletionRequest: the body of a completion, and its prompts."""

from __future__ import annotations

from typing import Final

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.text_request import TextRequest


#: The most tokens of an answer where neither the request nor the model file says, as OpenAI has it.
DEFAULT_MAX_TOKENS: Final = 16

#: The most answers to one request, over all of its prompts.
_MAX_ANSWERS: Final = 256


class CompletionRequest(TextRequest, frozen=True, kw_only=True):
    """Text, or several texts, that the model is to go on with."""

    prompt: str | list[object]

    def to_prompts(self) -> list[str]:
        """Give the prompts. Raises InvalidRequest."""
        if isinstance(self.prompt, str):
            return [_checked("prompt", self.prompt)]
        if not self.prompt:
            message = "'prompt' must hold at least one text."
            raise InvalidRequest(message, param="prompt", code="invalid_value")
        if len(self.prompt) * self.num_choices > _MAX_ANSWERS:
            message = (
                f"{len(self.prompt)} prompts with {self.num_choices} choices each are more than "
                f"{_MAX_ANSWERS} answers: send them in several requests."
            )
            raise InvalidRequest(message, param="prompt", code="invalid_value")
        return [_checked(f"prompt[{i}]", prompt) for i, prompt in enumerate(self.prompt)]


def _checked(place: str, prompt: object) -> str:
    if isinstance(prompt, int | list):
        message = f"{place!r}: prompts of tokens are not served by this server: send text."
        raise InvalidRequest(message, param="prompt", code="unsupported_value")
    if not isinstance(prompt, str) or not prompt:
        message = f"{place!r} must be a text that is not empty."
        raise InvalidRequest(message, param="prompt", code="invalid_value")
    return prompt
