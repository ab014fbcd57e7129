"""Tokenizer: prompts and conversations to tokens, and tokens to text. Knows no model and no params.

Chat templates are run by transformers in Jinja's immutable sandbox; whatever they raise is the
caller's InvalidInput.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Self, cast

from jinja2 import TemplateError
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from torchloom.errors import InvalidInput, ModelLoadError
from torchloom_models.llm.detokenizer import Detokenizer
from torchloom_models.llm.message import read_message
from torchloom_models.llm.token_text import TokenTexts, to_token_texts


#: What templates raise: their own `raise_exception`, the sandbox, and Python errors inside them.
_TEMPLATE_ERRORS = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class Tokenizer:
    """A model's tokenizer and chat template."""

    def __init__(self, inner: PreTrainedTokenizerBase, *, chat_template: str | None = None) -> None:
        self._inner = inner
        if chat_template is not None:
            inner.chat_template = chat_template
        # The Rust tokenizer itself, where there is one: decoding through the wrapper costs ten
        # times as much, and is done for each token.
        self._fast = getattr(inner, "backend_tokenizer", None)
        self._token_texts: TokenTexts | None = None

    @classmethod
    def from_folder(cls, folder: Path, *, chat_template: str | None = None) -> Self:
        """Load it from a model's folder. Raises ModelLoadError."""
        try:
            inner = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            message = f"The tokenizer in {str(folder)!r} could not be loaded: {error}"
            raise ModelLoadError(message) from error
        return cls(inner, chat_template=chat_template)

    @property
    def eos_token_id(self) -> int | None:
        """The end token that the tokenizer names, if any."""
        token: int | None = self._inner.eos_token_id
        return token

    @property
    def vocabulary(self) -> Mapping[str, int]:
        """Every token that it knows, and its number."""
        tokens: dict[str, int] = self._inner.get_vocab()
        return tokens

    def to_json(self) -> str | None:
        """Give the Rust tokenizer's own document; None where there is no such tokenizer."""
        return None if self._fast is None else str(self._fast.to_str())

    def encode(self, prompt: str) -> list[int]:
        """Give the tokens of raw text, with the special tokens that the model wants around it."""
        tokens: list[int] = self._inner(prompt)["input_ids"]
        return tokens

    @property
    def tool_template(self) -> str | None:
        """The chat template that is run where there are tools; None without any."""
        template = self._inner.chat_template
        if isinstance(template, Mapping):
            template = template.get("tool_use") or template.get("default")
        return str(template) if template else None

    def special_tokens(self, texts: Iterable[str]) -> dict[str, int]:
        """Give those of these texts that are special tokens, which have no text when decoded."""
        special = {
            added.content: token
            for token, added in self._inner.added_tokens_decoder.items()
            if added.special
        }
        return {text: special[text] for text in texts if text in special}

    def encode_messages(
        self, messages: Sequence[object], tools: Sequence[Mapping[str, object]] = ()
    ) -> list[int]:
        """Give the tokens of a conversation, up to where the model's answer begins.

        `tools` are told to the template as they are. Raises InvalidInput for a message that is not
        well formed, and when the template refuses.
        """
        if not self._inner.chat_template:
            message = (
                "This model has no chat template: give it a 'prompt' in place of 'messages', "
                "or write a 'chat_template' in the model file."
            )
            raise InvalidInput(message)
        conversation = [read_message(index, entry) for index, entry in enumerate(messages)]
        try:
            text = self._inner.apply_chat_template(
                cast("list[dict[str, str]]", conversation),
                tools=[dict(tool) for tool in tools] or None,
                tokenize=False,
                add_generation_prompt=True,
            )
        except _TEMPLATE_ERRORS as error:
            raise InvalidInput(f"The chat template refuses these messages: {error}") from error
        # The template has written the special tokens itself.
        tokens: list[int] = self._inner(text, add_special_tokens=False)["input_ids"]
        return tokens

    def decode(self, tokens: Sequence[int]) -> str:
        """Give the text of tokens, special ones left out."""
        if self._fast is not None:
            fast_text: str = self._fast.decode(tokens, skip_special_tokens=True)
            return fast_text
        text = self._inner.decode(list(tokens), skip_special_tokens=True)
        assert isinstance(text, str)
        return text

    def token_texts(self) -> TokenTexts:
        """Give what tells each token by itself."""
        if self._token_texts is None:
            self._token_texts = to_token_texts(self._inner)
        return self._token_texts

    def detokenizer(self, before: Sequence[int] = ()) -> Detokenizer:
        """Give a decoder for one answer, which grows token by token, and may go on from others."""
        return Detokenizer(self.decode, before)
