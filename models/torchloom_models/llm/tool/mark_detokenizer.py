"""MarkDetokenizer: shows the special tokens that calls are marked with. Knows no calls."""

from __future__ import annotations

from collections.abc import Mapping

from torchloom_models.llm.detokenizer import Detokenizes


class MarkDetokenizer:
    """Another detokenizer, but for tokens that are marks, which have the text given here."""

    def __init__(self, inner: Detokenizes, marks: Mapping[int, str]) -> None:
        self._inner = inner
        self._marks = marks
        self._num_marked = 0

    @property
    def num_given(self) -> int:
        """How many characters it has given, those of marks included."""
        return self._inner.num_given + self._num_marked

    def push(self, token: int) -> str:
        """Take a token; give the text that it completes."""
        mark = self._marks.get(token)
        if mark is None:
            return self._inner.push(token)
        self._num_marked += len(mark)
        return mark
