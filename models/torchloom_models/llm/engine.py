"""LlmEngine: the step loop of a language model: decide, run, account. Knows no process.

A step runs one token of every sequence that writes and, within a budget, pieces of prompts.
"""

from __future__ import annotations

from collections.abc import Sequence as Group
from itertools import accumulate
from math import isfinite

import torch

from torchloom.code_status import CodeStatus
from torchloom.engine import Chunk, Event, Failure, Result, Room, Work
from torchloom.errors import InvalidInput, TaskFailed, TorchLoomError
from torchloom_models.hardware import reserved_bytes
from torchloom_models.llm.grammar.arrival import Arrivals
from torchloom_models.llm.request import RequestReader
from torchloom_models.llm.runner import Runner
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.scheduler import Budget, Scheduler
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span


#: How long a step that has nothing to run waits for a grammar: cancelling waits as long.
_REST_S = 0.02


class LlmEngine:
    """Sequences that join and leave between steps, on one model."""

    def __init__(
        self,
        *,
        reader: RequestReader,
        scheduler: Scheduler,
        runner: Runner,
        sampler: Sampler,
        arrivals: Arrivals,
        budget: Budget,
        device: str,
        notes: Group[str] = (),
    ) -> None:
        self.device = device
        self.notes = tuple(notes)
        self._reader = reader
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._arrivals = arrivals
        self._room = Room(max_tasks=scheduler.num_rows, is_continuous=True)
        self._budget = budget
        self._sequences: dict[int, Sequence] = {}

    def room(self) -> Room:
        """Say how many sequences it holds at once."""
        return self._room

    def admit(self, work: Work) -> None:
        """Take a request in; its prompt runs in one of the next steps. Raises InvalidInput."""
        sequence = self._reader.read(work)
        self._sequences[work.task_id] = sequence
        if not self._arrivals.hold(sequence):
            self._scheduler.add(sequence)

    def step(self) -> list[Event]:
        """Run one pass over what is next; draw a token for each sequence that has come to it."""
        events = self._take_arrivals()
        for move in self._scheduler.compact():
            self._runner.move(move.source, move.target, move.sequence.num_held)
        spans = self._scheduler.plan(self._budget)
        if not spans:
            self._arrivals.wait(0 if events else _REST_S)
            return events
        logits = self._runner.run(spans, self._scheduler.running)
        self._scheduler.advance(spans)
        return events + self._account(spans, logits)

    def cancel(self, task_id: int) -> None:
        """Forget a request; its blocks are free at once."""
        sequence = self._sequences.pop(task_id, None)
        if sequence is not None and not self._arrivals.remove(sequence):
            self._scheduler.remove(sequence)

    def memory_bytes(self) -> int:
        """Give what the device's allocator holds; 0 on a CPU."""
        return reserved_bytes(self.device)

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        return self._runner.code_status()

    def close(self) -> None:
        """End what still compiles."""
        self._arrivals.close()
        self._runner.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._sequences

    def check(self) -> None:
        """Assert that blocks and sequences agree: for tests, between steps."""
        self._scheduler.check()

    def _take_arrivals(self) -> list[Event]:
        """Let those that have their grammar wait for their turn; fail those that cannot have it."""
        events: list[Event] = []
        for sequence, error in self._arrivals.take():
            if error is None:
                self._scheduler.add(sequence)
            else:
                del self._sequences[sequence.task_id]
                events.append(Failure(sequence.task_id, error))
        return events

    def _account(self, spans: Group[Span], logits: torch.Tensor) -> list[Event]:
        """Draw tokens for each sequence that has come to one, and say what came of it.

        `logits` as Runner.run gives them. What a draft guessed is drawn as if it had not been
        guessed; where both are the same, the logits after it count as well.
        """
        rows = accumulate((1 + len(span.draft) for span in spans), initial=0)
        placed = list(zip(spans, rows, strict=False))
        ends = [(span, row) for span, row in placed if span.is_last]
        pieces = [(span, row) for span, row in placed if not span.is_last]
        events = self._fail_broken(logits, pieces) if pieces else []
        number = 0
        while ends:
            drawn = self._draw(logits, [row + number for _, row in ends], [s for s, _ in ends])
            right = []
            for (span, row), token in zip(ends, drawn, strict=True):
                events += self._append(span.sequence, token)
                if span.sequence.finish_reason is None and token in span.draft[number : number + 1]:
                    span.sequence.num_held += 1
                    right.append((span, row))
                elif span.draft and span.sequence.lookup is not None:
                    span.sequence.lookup.learn(number)
            ends = right
            number += 1
        return events

    def _fail_broken(self, logits: torch.Tensor, pieces: Group[tuple[Span, int]]) -> list[Event]:
        """Fail prompts that come to no numbers before their end, so that nobody shares them."""
        best = logits[[row for _, row in pieces]].max(dim=-1).values.tolist()
        return [
            self._fail(span.sequence)
            for (span, _), highest in zip(pieces, best, strict=True)
            if not isfinite(highest)
        ]

    def _draw(self, logits: torch.Tensor, rows: Group[int], spans: Group[Span]) -> list[int | None]:
        if rows != list(range(len(logits))):
            logits = logits[rows]
        return self._sampler.sample(logits, [span.sequence for span in spans])

    def _append(self, sequence: Sequence, token: int | None) -> list[Event]:
        """Give a sequence its next token, None where there is none; say what came of it."""
        if token is None:
            return [self._fail(sequence)]
        text = sequence.append(token)
        events: list[Event] = [Chunk(sequence.task_id, data) for data in _tell(sequence, text)]
        if sequence.finish_reason is not None:
            self.cancel(sequence.task_id)
            events.append(_result(sequence))
        return events

    def _fail(self, sequence: Sequence) -> Failure:
        self._runner.clear(self._scheduler.discard(sequence))
        del self._sequences[sequence.task_id]
        return Failure(sequence.task_id, _why_broken(sequence))

    def __repr__(self) -> str:
        """Say who waits and who runs."""
        return f"<LlmEngine on {self.device}: {self._scheduler!r}>"


def _why_broken(sequence: Sequence) -> TorchLoomError:
    if sequence.grammar is not None and sequence.grammar.error:
        number = len(sequence.tokens) + 1
        return InvalidInput(
            f"The form asked for breaks at token {number}: {sequence.grammar.error}."
        )
    return TaskFailed(
        f"The model gave NaN or infinity for token {sequence.length} of this sequence."
    )


def _tell(sequence: Sequence, text: str) -> list[dict[str, object]]:
    """Give what is new as chunks; with tools, text and calls apart. May end the sequence."""
    calls = sequence.calls
    if calls is None:
        return [{"text": text}] if text else []
    chunks = calls.push(text)
    if calls.is_full and sequence.finish_reason is None:
        sequence.finish_reason = "stop"
    return chunks + calls.finish() if sequence.finish_reason is not None else chunks


def _result(sequence: Sequence) -> Result:
    num_prompt, num_written = len(sequence.prompt), len(sequence.tokens)
    outputs: dict[str, object] = {
        "text": sequence.text,
        "finish_reason": sequence.finish_reason,
        "usage": {"prompt": num_prompt, "cached": sequence.num_cached, "completion": num_written},
    }
    if sequence.calls is not None:
        outputs["text"] = sequence.calls.text
        outputs["tool_calls"] = [call.to_document() for call in sequence.calls.calls]
        if sequence.calls.calls and sequence.finish_reason == "stop":
            outputs["finish_reason"] = "tool_calls"
    counts = {"prompt_tokens": num_prompt, "completion_tokens": num_written}
    return Result(sequence.task_id, outputs, counts)
