"""GrammarCompiler: constraints to grammars, in a thread of its own, each kept for the next answer.

Knows no sequence and no step. The grammar library, and the vocabulary that it needs, are loaded
with the first constraint.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TYPE_CHECKING, Final

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.constraint import Constraint


if TYPE_CHECKING:
    from llguidance import LLTokenizer

    from torchloom_models.llm.grammar.grammar import Grammar

#: How many grammars are kept: those that were asked for last.
_MAX_KEPT: Final = 128


class GrammarCompiler:
    """Gives each constraint one Grammar, however often it is asked for. Called by one thread.

    `read_tokenizer` gives the tokenizer as JSON, or None where it has no such form.
    """

    def __init__(
        self,
        read_tokenizer: Callable[[], str | None],
        *,
        vocabulary_size: int,
        end_tokens: frozenset[int],
        max_kept: int = _MAX_KEPT,
    ) -> None:
        self._read_tokenizer = read_tokenizer
        self._vocabulary_size = vocabulary_size
        self._end_tokens = end_tokens
        self._max_kept = max_kept
        self._kept: OrderedDict[Constraint, Future[Grammar]] = OrderedDict()
        self._thread: ThreadPoolExecutor | None = None
        self._vocabulary: LLTokenizer | None = None

    def compile(self, constraint: Constraint) -> Future[Grammar]:
        """Give the grammar, or what will become of it; InvalidInput where it cannot be one."""
        found = self._kept.get(constraint)
        if found is None:
            if self._thread is None:
                self._thread = ThreadPoolExecutor(1, thread_name_prefix="grammar")
            found = self._thread.submit(self._compile, constraint)
            self._kept[constraint] = found
        self._kept.move_to_end(constraint)
        while len(self._kept) > self._max_kept:
            self._kept.popitem(last=False)
        return found

    def close(self) -> None:
        """Compile nothing more."""
        if self._thread is not None:
            self._thread.shutdown(wait=False, cancel_futures=True)

    def _compile(self, constraint: Constraint) -> Grammar:
        from torchloom_models.llm.grammar import grammar, vocabulary  # noqa: PLC0415 - on first use

        try:
            if self._vocabulary is None:
                self._vocabulary = vocabulary.to_vocabulary(
                    self._read_tokenizer(),
                    vocabulary_size=self._vocabulary_size,
                    end_tokens=self._end_tokens,
                )
            return grammar.Grammar(constraint, self._vocabulary)
        except InvalidInput as error:
            # Kept beside the answer: without the frames that hold what was tried.
            raise error.with_traceback(None) from None
