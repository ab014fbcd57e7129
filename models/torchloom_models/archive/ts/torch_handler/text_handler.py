"""`ts.torch_handler.text_handler`: what handlers of texts are made from."""

from __future__ import annotations

import re
import string
import unicodedata
from abc import ABC
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, Final, cast

import torch

from torchloom.errors import ModelLoadError
from torchloom_models.archive.ts.handler_utils.text_utils import get_tokenizer
from torchloom_models.archive.ts.torch_handler.base_handler import BaseHandler
from torchloom_models.archive.ts.torch_handler.contractions import CONTRACTION_MAP
from torchloom_models.archive.ts.utils.util import CLEANUP_REGEX


_VOCABULARY: Final = "source_vocab.pt"

#: Longer ones first. They count inside words as well, as in TorchServe.
_SHORT = re.compile(
    "|".join(map(re.escape, sorted(CONTRACTION_MAP, key=len, reverse=True))), re.IGNORECASE
)
_cut = cast("Callable[[str], list[str]]", get_tokenizer("basic_english"))


class TextHandler(BaseHandler, ABC):
    """Brings a vocabulary, and the steps by which texts are cleaned."""

    def __init__(self) -> None:
        super().__init__()
        self.source_vocab: dict[str, int] = {}

    def initialize(self, context: Any) -> None:
        """Open the weights and the vocabulary."""
        super().initialize(context)
        self.source_vocab = self._load_vocabulary(self.get_source_vocab_path(context))

    def get_source_vocab_path(self, context: Any) -> str:
        """Give the file of the vocabulary."""
        folder = Path(str(context.system_properties.get("model_dir")))
        return str(folder / _VOCABULARY)

    def _load_vocabulary(self, file: str) -> dict[str, int]:
        """Read numbers by token. A pickled torchtext.Vocab is code, and refused."""
        try:
            loaded = torch.load(file, weights_only=True)
        except Exception as error:
            message = (
                f"{_VOCABULARY} cannot be read as plain values: {error}. Save a dict of numbers by "
                "token: torch.save(vocab.get_stoi(), 'source_vocab.pt')."
            )
            raise ModelLoadError(message) from error
        tokens = (
            dict(zip(loaded, range(len(loaded)), strict=True))
            if isinstance(loaded, list)
            else loaded
        )
        if not isinstance(tokens, dict):
            message = f"{_VOCABULARY} is a {type(loaded).__name__}, not a dict of numbers by token."
            raise ModelLoadError(message)
        return tokens

    def _remove_html_tags(self, text: str) -> str:
        return CLEANUP_REGEX.sub("", text)

    def _lowercase_text(self, text: str) -> str:
        return text.lower()

    def _expand_contractions(self, text: str) -> str:
        """Write out what words are short for; the first letter stays as it is."""
        return _SHORT.sub(_expand, text)

    def _remove_accented_characters(self, text: str) -> str:
        plain = unicodedata.normalize("NFKD", text).encode("ascii", "ignore")
        return plain.decode("utf-8", "ignore")

    def _remove_punctuation(self, text: str) -> str:
        return text.translate(str.maketrans("", "", string.punctuation))

    #: TorchServe's older spelling.
    _remove_puncutation = _remove_punctuation

    def _tokenize(self, text: str) -> list[str]:
        return _cut(text)

    def summarize_attributions(self, attributions: Any) -> Any:
        """Make attributions of several runs comparable: a softmax, over the norm of its sums."""
        dimension = 0 if attributions.dim() in (0, 1, 3) else 1  # what softmax takes unless told
        shares = torch.nn.functional.softmax(attributions, dim=dimension)
        return shares / torch.norm(shares.sum(dim=-1))

    def get_word_token(self, input_tokens: Iterable[str]) -> list[str]:
        """Give the words of tokens, without the sign that marks where one begins."""
        return [str(each).replace("\u2581", "") for each in input_tokens]


def _expand(found: re.Match[str]) -> str:
    short = found[0]
    whole = CONTRACTION_MAP[short.lower()]
    return short[0] + whole[1:] if short[0].lower() == whole[0] else whole
