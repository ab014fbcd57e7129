"""`ts.handler_utils.text_utils`: tokens and n-grams, as torchtext has them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final


#: What becomes of signs: some stand alone, some go, some are blanks.
_ALONE: Final = "'.,()!?"
_BLANK: Final = ";:"
_SIGNS: Final = str.maketrans(
    {'"': "", **{sign: f" {sign} " for sign in _ALONE}, **dict.fromkeys(_BLANK, " ")}
)


def ngrams_iterator(token_list: Sequence[str], ngrams: int) -> Iterator[str]:
    """Give each token, then each pair, and so on up to `ngrams`, joined by blanks."""
    yield from token_list
    for size in range(2, ngrams + 1):
        for start in range(len(token_list) - size + 1):
            yield " ".join(token_list[start : start + size])


def get_tokenizer(tokenizer: Any, language: str = "en") -> Callable[[str], list[str]] | None:
    """Give what cuts a text into tokens: None cuts at blanks, `basic_english` at signs as well.

    Raises ValueError for `basic_english` of another language. Others are not known, here or there.
    """
    if tokenizer is None:
        return str.split
    if tokenizer != "basic_english":
        return None
    if language != "en":
        message = f"The tokenizer 'basic_english' is for the language 'en', not {language!r}."
        raise ValueError(message)
    return _cut_english


def _cut_english(text: str) -> list[str]:
    return text.lower().replace("<br />", " ").translate(_SIGNS).split()
