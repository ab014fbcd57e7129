"""Teachers in a row, in processes of their own if wanted, who make batches ahead of need.

Owns who makes which batch, and how long before. The batches depend on the seed and on the stages
asked for, never on the number of processes or on time.
"""

from __future__ import annotations

import pickle
from collections import deque
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.connection import Connection
from types import TracebackType
from typing import Self

import torch
from transformers import PreTrainedTokenizerFast

from .lesson import Batch, Teacher


#: Each makes the next batch but so many: several processes share them, always in the same way.
NUM_TEACHERS = 12
#: Batches asked for and not yet taken.
AHEAD = 2 * NUM_TEACHERS


@dataclass(frozen=True, slots=True)
class Row:
    """All teachers, each made by whoever needs it; `number` of a batch says whose it is."""

    tokenizer: PreTrainedTokenizerFast
    seed: int
    num_tokens: int
    teachers: dict[int, Teacher]

    def make(self, number: int, stage: int) -> Batch:
        """Make the batch of that number; those of one teacher come in their order."""
        index = number % NUM_TEACHERS
        if index not in self.teachers:
            self.teachers[index] = Teacher(self.tokenizer, f"{self.seed} {index}")
        return self.teachers[index].batch(self.num_tokens, stage)


class Faculty:
    """Gives batch after batch; with processes, they are made while others are learned."""

    def __init__(
        self,
        tokenizer: PreTrainedTokenizerFast,
        *,
        seed: int,
        num_tokens: int,
        num_processes: int,
    ) -> None:
        self._row = Row(tokenizer, seed, num_tokens, {})
        self._asked: deque[tuple[int, int]] = deque()
        self._number = 0
        self._pipes: list[Connection] = []
        context = get_context("spawn")
        for _ in range(min(num_processes, NUM_TEACHERS)):
            ours, theirs = context.Pipe()
            context.Process(target=_serve, args=(theirs, self._row), daemon=True).start()
            theirs.close()
            self._pipes.append(ours)

    def __enter__(self) -> Self:
        """Let the teachers in."""
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        """Hang up, which ends the processes."""
        for pipe in self._pipes:
            pipe.close()

    def take(self, stage: int) -> Batch:
        """Give the next batch, and ask for one of `stage`, which comes `AHEAD` batches later."""
        while len(self._asked) <= AHEAD:
            self._ask(stage)
        number, asked = self._asked.popleft()
        if not self._pipes:
            return self._row.make(number, asked)
        batch: Batch = pickle.loads(self._pipe(number).recv_bytes())  # noqa: S301 - from our own process
        return batch

    def _ask(self, stage: int) -> None:
        self._asked.append((self._number, stage))
        if self._pipes:
            self._pipe(self._number).send((self._number, stage))
        self._number += 1

    def _pipe(self, number: int) -> Connection:
        return self._pipes[number % NUM_TEACHERS % len(self._pipes)]


def _serve(pipe: Connection, row: Row) -> None:
    """Make the batches asked for until the other end hangs up."""
    torch.set_num_threads(1)
    try:
        while True:
            # As bytes: the tensors would else be shared by files, of which there may be too few.
            pipe.send_bytes(pickle.dumps(row.make(*pipe.recv())))
    except (EOFError, OSError):
        pipe.close()
