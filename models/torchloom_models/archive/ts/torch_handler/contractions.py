"""`ts.torch_handler.contractions`: what English words are short for, made from their endings."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final


#: Ending → what it is short for, and the words that it follows.
_ENDINGS: Final = (
    ("'m", " am", "i"),
    ("'d", " would", "he i it she that there they we you"),
    ("'d've", " would have", "he i it she that there they we you"),
    ("'ll", " will", "he how i it she they we what who you"),
    ("'ll've", " will have", "he i it she they we what who you"),
    ("'re", " are", "they we what you"),
    ("'s", " is", "he how it she that there what when where who why"),
    ("'ve", " have", "could i might must should so they to we what when where who why will would"),
    ("'ve", " have", "you"),
    ("n't", " not", "are could did do does had has have is may might must need ought should was"),
    ("n't", " not", "were would"),
    ("n't've", " not have", "could had might must need ought should would"),
)

#: Those that follow no rule.
_OTHERS: Final = {
    "'cause": "because",
    "ain't": "is not",
    "can't": "cannot",
    "can't've": "cannot have",
    "how'd": "how did",
    "how'd'y": "how do you",
    "let's": "let us",
    "ma'am": "madam",
    "o'clock": "of the clock",
    "sha'n't": "shall not",
    "shan't": "shall not",
    "shan't've": "shall not have",
    "so's": "so as",
    "where'd": "where did",
    "won't": "will not",
    "won't've": "will not have",
    "y'all": "you all",
    "y'all'd": "you all would",
    "y'all'd've": "you all would have",
    "y'all're": "you all are",
    "y'all've": "you all have",
}


def _by_rule() -> Iterator[tuple[str, str]]:
    for ending, whole, words in _ENDINGS:
        for word in words.split():
            yield word + ending, word + whole


#: Short form → what it stands for, in small letters.
CONTRACTION_MAP: Final = {**dict(_by_rule()), **_OTHERS}
