"""CompletionRequest: the body of a completion, and its prompts."""

from __future__ import annotations

from typing import Final

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_text
from torchloom_api.openai.text_request import TextRequest


#: The most tokens of an answer where neither the request nor the model file says, as OpenAI has it.
DEFAULT_MAX_TOKENS: Final = 16

#: The most answers to one request, over all of its prompts.
_MAX_ANSWERS: Final = 256

#: What OpenAI takes besides text.
_OF_TOKENS: Final = "prompts of tokens"


class CompletionRequest(TextRequest, frozen=True, kw_only=True):
    """Text, or several texts, that the model is to go on with."""

    prompt: str | list[object]

    def to_prompts(self) -> list[str]:
        """Give the prompts. Raises InvalidRequest."""
        if isinstance(self.prompt, str):
            return [to_text(self.prompt, "prompt", of_tokens=_OF_TOKENS)]
        if not self.prompt:
            message = "'prompt' must hold at least one text."
            raise InvalidRequest(message, param="prompt", code="invalid_value")
        if len(self.prompt) * self.num_choices > _MAX_ANSWERS:
            message = (
                f"{len(self.prompt)} prompts with {self.num_choices} choices each are more than "
                f"{_MAX_ANSWERS} answers: send them in several requests."
            )
            raise InvalidRequest(message, param="prompt", code="invalid_value")
        return [
            to_text(prompt, f"prompt[{i}]", of_tokens=_OF_TOKENS)
            for i, prompt in enumerate(self.prompt)
        ]
