"""CompletionRequest: the body of a completion, and its prompts."""

from __future__ import annotations

from typing import Final

from torchloom_api.openai.error import InvalidRequest
from torchloom_api.openai.request_body import to_text
from torchloom_api.openai.text_request import Count, NumTop, TextRequest


#: The most tokens of an answer where neither the request nor the model file says, as OpenAI has it.
DEFAULT_MAX_TOKENS: Final = 16

#: The most answers to one request, over all of its prompts.
_MAX_ANSWERS: Final = 256

#: What OpenAI takes besides text.
_OF_TOKENS: Final = "prompts of tokens"


class CompletionRequest(TextRequest, frozen=True, kw_only=True):
    """Text, or several texts, that the model is to go on with."""

    prompt: str | list[object]
    max_tokens: Count | None = None
    logprobs: NumTop | None = None
    echo: bool | None = None
    best_of: int | None = None

    def check_best(self) -> None:
        """Refuse to write more answers than are given. Raises InvalidRequest."""
        if self.best_of not in (None, 1, self.num_choices):
            message = "'best_of' other than 'n' is not served by this server: leave it out."
            raise InvalidRequest(message, param="best_of", code="unsupported_parameter")

    def to_logprobs(self) -> dict[str, object]:
        """Give what a model is asked of its tokens, and of the prompt's where that is echoed."""
        if self.logprobs is None:
            return {}
        told = {"logprobs": self.logprobs}
        return {**told, "prompt_logprobs": self.logprobs} if self.echo else {**told}

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
