"""Arrivals: sequences whose grammars are being compiled; the scheduler does not know them yet."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, wait
from typing import TYPE_CHECKING

from torchloom.errors import InvalidInput
from torchloom_models.llm.grammar.compiler import GrammarCompiler
from torchloom_models.llm.sequence import Sequence


if TYPE_CHECKING:
    from torchloom_models.llm.grammar.grammar import Grammar


class Arrivals:
    """Each waits for its own grammar, and holds up nobody else."""

    def __init__(self, compiler: GrammarCompiler) -> None:
        self._compiler = compiler
        self._waiting: dict[Sequence, Future[Grammar]] = {}

    def hold(self, sequence: Sequence) -> bool:
        """Hold a sequence that is to keep to a grammar; say whether it does."""
        if sequence.constraint is None:
            return False
        self._waiting[sequence] = self._compiler.compile(sequence.constraint)
        return True

    def remove(self, sequence: Sequence) -> bool:
        """Forget a sequence; say whether it was here. Its grammar is compiled all the same."""
        return self._waiting.pop(sequence, None) is not None

    def take(self) -> Iterator[tuple[Sequence, InvalidInput | None]]:
        """Give those whose grammar is there, which they have now, or cannot be."""
        ready = [each for each, future in self._waiting.items() if future.done()]
        for sequence in ready:
            try:
                sequence.grammar = self._waiting.pop(sequence).result().begin()
            except InvalidInput as error:
                yield sequence, error
            else:
                yield sequence, None

    def wait(self, timeout_s: float) -> None:
        """Rest until one of them is ready, for so long at most; not at all if there are none."""
        if self._waiting:
            wait(self._waiting.values(), timeout_s, return_when=FIRST_COMPLETED)

    def close(self) -> None:
        """Compile nothing more."""
        self._compiler.close()
