"""LlmEngine: the step loop of a language model: decide, run, account. Knows no process.

A step runs one token of every sequence that writes and, within a budget, pieces of prompts.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from collections.abc import Sequence as Group
from dataclasses import dataclass, replace
from itertools import accumulate
from math import isfinite
from typing import cast

import torch

from torchloom.code_status import CodeStatus
from torchloom.engine import Chunk, Event, Failure, Occupancy, Result, Room, Work
from torchloom.errors import InvalidInput, InvalidModel, TaskFailed, TorchLoomError
from torchloom_models.hardware import reserved_bytes
from torchloom_models.llm.adapter.field import SETTING
from torchloom_models.llm.draft.drafter import Drafter
from torchloom_models.llm.grammar.arrival import Arrivals
from torchloom_models.llm.logprob.logprob import Logprobs, note_prompt
from torchloom_models.llm.request import RequestReader
from torchloom_models.llm.runner import Runner
from torchloom_models.llm.sampler import Sampler
from torchloom_models.llm.scheduler import Budget, Scheduler
from torchloom_models.llm.sequence import Sequence
from torchloom_models.llm.span import Span
from torchloom_models.threads import torch_threads


_log = logging.getLogger(__name__)

#: How long a step that has nothing to run waits for a grammar: cancelling waits as long.
_REST_S = 0.02

#: A token; None where the logits are no numbers; what was raised where none could be drawn.
_Drawn = int | None | Exception


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineFacts:
    """What an engine says of itself: its device, notes for users, memory that is set aside.

    `num_threads`: how many torch takes within a step; None for as many as it takes anyway.
    """

    device: str
    num_threads: int | None = None
    notes: tuple[str, ...] = ()
    reserved_bytes: int = 0


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
        facts: EngineFacts,
        drafter: Drafter | None = None,
    ) -> None:
        self.device = facts.device
        self.notes = facts.notes
        self._reserved = facts.reserved_bytes
        self._num_threads = facts.num_threads
        self._reader = reader
        self._scheduler = scheduler
        self._runner = runner
        self._sampler = sampler
        self._arrivals = arrivals
        self._room = Room(max_tasks=scheduler.num_rows, is_continuous=True)
        #: What goes through a pass at most; may be set between steps.
        self.budget = budget
        self._sequences: dict[int, Sequence] = {}
        self._drafter = drafter
        self._num_guessed = self._num_accepted = 0

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
        with torch_threads(self._num_threads):
            return self._step()

    def _step(self) -> list[Event]:
        events = self._take_arrivals()
        spans = self._scheduler.plan(self.budget)
        self._make_moves()
        if not spans:
            self._arrivals.wait(0 if events else _REST_S)
            return events
        if self._drafter is not None:
            spans = self._drafter.fill(spans)
        logits = self._runner.run(spans, self._scheduler.running)
        self._scheduler.advance(spans)
        return events + self._account(spans, logits)

    def cancel(self, task_id: int) -> None:
        """Forget a request; its blocks are free at once."""
        sequence = self._sequences.pop(task_id, None)
        if sequence is not None and not self._arrivals.remove(sequence):
            self._scheduler.remove(sequence)

    def apply_setting(self, key: str, value: object) -> None:
        """Load an adapter (`adapter:NAME`, {"source": …}), or unload it (None); see Settable.

        Raises InvalidModel, and nothing has changed, for one that cannot be loaded.
        """
        name, adapters = key.removeprefix(SETTING), self._reader.adapters
        if name == key or adapters is None:
            raise InvalidModel(f"{key!r} is nothing that this model can be told while it serves.")
        if value is None:
            adapters.unload(name)
            return
        source = cast("Mapping[str, str]", value)["source"]
        used = {each.place for each in self._sequences.values()}
        adapters.load(name, source, used=used)

    def occupancy(self) -> Occupancy:
        """Say how full its cache is, whether more tasks would only wait, and how guesses fare."""
        return replace(
            self._scheduler.occupancy,
            num_guessed=self._num_guessed,
            num_accepted=self._num_accepted,
        )

    def memory_bytes(self) -> int:
        """Give what the device's allocator holds; 0 on a CPU."""
        return reserved_bytes(self.device)

    def reserved_bytes(self) -> int:
        """Give what is set aside for its cache and takes no memory before it is written to."""
        return self._reserved

    def code_status(self) -> list[CodeStatus]:
        """Say how the code of each part stands."""
        drafter = [] if self._drafter is None else self._drafter.code_status()
        return [*self._runner.code_status(), *drafter]

    def close(self) -> None:
        """End what still compiles."""
        self._arrivals.close()
        self._runner.close()
        if self._drafter is not None:
            self._drafter.close()

    @property
    def is_idle(self) -> bool:
        """Whether nothing waits and nothing runs."""
        return not self._sequences

    def check(self) -> None:
        """Assert that blocks and sequences agree: for tests, between steps."""
        self._scheduler.check()

    def _make_moves(self) -> None:
        """Copy what is to lie elsewhere. One that raised, and those after it, come first again."""
        moves = self._scheduler.moves
        while moves:
            self._runner.move(moves[0])
            moves.popleft()

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
        begins = accumulate((span.num_kept for span in spans), initial=0)
        for span, begin in zip(spans, begins, strict=False):
            if span.is_scored:
                _score(span, logits[begin : begin + span.num_kept])
        rows = accumulate(span.num_kept for span in spans)
        placed = [(s, row - 1 - len(s.draft)) for s, row in zip(spans, rows, strict=True)]
        ends = [(span, row) for span, row in placed if _is_written_to(span)]
        pieces = [(span, row) for span, row in placed if not _is_written_to(span)]
        events = self._end_pieces(logits, pieces) if pieces else []
        self._num_guessed += sum(len(span.draft) for span in spans)
        number = 0
        while ends:
            drawn = self._draw(logits, [row + number for _, row in ends], [s for s, _ in ends])
            right = []
            for (span, row), token in zip(ends, drawn, strict=True):
                events += self._append(span.sequence, token)
                is_right = token in span.draft[number : number + 1]
                self._num_accepted += is_right
                if is_right and span.sequence.task_id in self._sequences:
                    span.sequence.num_held += 1
                    right.append((span, row))
                elif span.guesser is not None:
                    span.guesser.learn(number)
            ends = right
            number += 1
        return events

    def _end_pieces(self, logits: torch.Tensor, pieces: Group[tuple[Span, int]]) -> list[Event]:
        """Fail prompts that come to no numbers before their end, so that nobody shares them.

        End those that nothing is written to, once all of them has been run.
        """
        events: list[Event] = []
        best = logits[[row for _, row in pieces]].max(dim=-1).values.tolist()
        for (span, _), highest in zip(pieces, best, strict=True):
            if not isfinite(highest):
                events.append(self._fail(span.sequence))
            elif span.is_last:
                span.sequence.finish_reason = "length"
                events += self._tell(span.sequence, "")
        return events

    def _draw(self, logits: torch.Tensor, rows: Group[int], spans: Group[Span]) -> list[_Drawn]:
        """Draw for all rows at once; where that raises, for each alone, so that one fails alone."""
        chosen = logits if rows == list(range(len(logits))) else logits[rows]
        sequences = [span.sequence for span in spans]
        try:
            logprobs = Logprobs.of(chosen, sequences)
            tokens = self._sampler.sample(chosen, sequences)
            if logprobs is not None:
                logprobs.note(tokens)
        except Exception as error:  # noqa: BLE001 - what a request brings along may raise anything
            if len(spans) == 1:
                _log.exception("No token could be drawn for %r.", spans[0].sequence)
                return [error]
        else:
            return [*tokens]
        return [
            token
            for row, span in zip(rows, spans, strict=True)
            for token in self._draw(logits, [row], [span])
        ]

    def _append(self, sequence: Sequence, token: _Drawn) -> list[Event]:
        """Give a sequence its next token, or fail it without one; say what came of it."""
        if token is None:
            return [self._fail(sequence)]
        if isinstance(token, Exception):
            return [self._give_up(sequence, token)]
        try:
            return self._tell(sequence, sequence.append(token))
        except Exception as error:  # noqa: BLE001 - as above; its neighbours go on
            _log.exception("A token could not be taken by %r.", sequence)
            return [self._give_up(sequence, error)]

    def _tell(self, sequence: Sequence, text: str) -> list[Event]:
        """Send what may be sent now, and the end where it has come."""
        pieces = _to_pieces(sequence, text)
        is_over = sequence.finish_reason is not None
        if sequence.report is not None:
            more = sequence.report.take(has_text=bool(pieces), is_over=is_over)
            if more:
                pieces[:1] = [{**(pieces[0] if pieces else {"text": ""}), **more}]
        events: list[Event] = [Chunk(sequence.task_id, piece) for piece in pieces]
        if is_over:
            self.cancel(sequence.task_id)
            events.append(_result(sequence))
        return events

    def _give_up(self, sequence: Sequence, error: Exception) -> Failure:
        """End a sequence for which something raised; what its blocks hold is sound."""
        self.cancel(sequence.task_id)
        if not isinstance(error, TorchLoomError):
            error = TaskFailed(f"{type(error).__name__}: {error}")
        return Failure(sequence.task_id, error)

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


def _to_pieces(sequence: Sequence, text: str) -> list[dict[str, object]]:
    """Give what chunks hold; with tools, text and calls apart. May end the sequence."""
    calls = sequence.calls
    if calls is None:
        return [{"text": text}] if text else []
    chunks = calls.push(text)
    if calls.is_full and sequence.finish_reason is None:
        sequence.finish_reason = "stop"
    return chunks + calls.finish() if sequence.finish_reason is not None else chunks


def _is_written_to(span: Span) -> bool:
    """Whether a token is drawn after it."""
    return span.is_last and span.sequence.max_tokens > 0


def _score(span: Span, logits: torch.Tensor) -> None:
    """Report the tokens of a prompt that follow on those of a span, by the logits after each."""
    sequence, report = span.sequence, span.sequence.report
    assert report is not None, "it is scored for no other reason"
    # One that gave its blocks back in between is run again from its beginning.
    first = max(span.start + 1, report.num_prompt_noted)
    tokens = sequence.prompt[first : span.end + 1]
    if tokens:
        begin = first - 1 - span.start
        note_prompt(report, tokens, logits[begin : begin + len(tokens)])


def _result(sequence: Sequence) -> Result:
    num_prompt, num_written = len(sequence.prompt), len(sequence.tokens)
    outputs: dict[str, object] = {
        "text": sequence.text,
        "finish_reason": sequence.finish_reason,
        "usage": {"prompt": num_prompt, "cached": sequence.num_cached, "completion": num_written},
        **({} if sequence.report is None else sequence.report.outputs),
    }
    if sequence.calls is not None:
        outputs["text"] = sequence.calls.text
        outputs["tool_calls"] = [call.to_document() for call in sequence.calls.calls]
        if sequence.calls.calls and sequence.finish_reason == "stop":
            outputs["finish_reason"] = "tool_calls"
    counts = {"prompt_tokens": num_prompt, "completion_tokens": num_written}
    return Result(sequence.task_id, outputs, counts)
