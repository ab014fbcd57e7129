"""TextTokenizer: texts to token ids, cut to the model's length. Knows no model and no padding."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tokenizers import Tokenizer
from transformers import AutoTokenizer

from torchloom.errors import ModelLoadError


#: What transformers writes where a tokenizer has no longest text.
_NO_LENGTH = 10**9


class TextTokenizer:
    """A fast tokenizer that cuts texts at `max_length` tokens, special ones included."""

    def __init__(
        self, inner: Tokenizer, *, max_length: int, pad_id: int, is_lower_case: bool
    ) -> None:
        inner.no_padding()
        inner.enable_truncation(max_length)
        self._inner = inner
        self._is_lower_case = is_lower_case
        self.max_length = max_length
        self.pad_id = pad_id

    @classmethod
    def from_folder(cls, folder: Path, *, max_lengths: Sequence[int], is_lower_case: bool) -> Self:
        """Load it. The least of `max_lengths` and the tokenizer's own holds.

        Raises ModelLoadError.
        """
        try:
            outer = AutoTokenizer.from_pretrained(
                folder, local_files_only=True, trust_remote_code=False
            )
        except (OSError, ValueError, KeyError, TypeError, ImportError) as error:
            message = f"The tokenizer in {str(folder)!r} could not be loaded: {error}"
            raise ModelLoadError(message) from error
        if not outer.is_fast:
            message = f"The tokenizer in {str(folder)!r} has no fast form (tokenizer.json)."
            raise ModelLoadError(message)
        lengths = [*max_lengths, outer.model_max_length]
        return cls(
            outer.backend_tokenizer,
            max_length=int(min(length for length in lengths if length < _NO_LENGTH)),
            pad_id=outer.pad_token_id or 0,
            is_lower_case=is_lower_case,
        )

    def encode(self, texts: Sequence[str]) -> list[list[int]]:
        """Give the ids of each text, at most `max_length` of them."""
        return [encoding.ids for encoding in self._inner.encode_batch_fast(self._cased(texts))]

    def find_too_long(self, texts: Sequence[str]) -> int | None:
        """Give the place of the first text that would be cut."""
        encodings = self._inner.encode_batch_fast(self._cased(texts))
        return next((place for place, text in enumerate(encodings) if text.overflowing), None)

    def _cased(self, texts: Sequence[str]) -> list[str]:
        return [text.lower() for text in texts] if self._is_lower_case else list(texts)
