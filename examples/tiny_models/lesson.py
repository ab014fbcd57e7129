"""Lessons: token sequences with the weight of each token in the loss, and their batches.

Owns the mix of tasks over the course of training. Knows nothing of the model or the optimiser.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random

import torch
from transformers import PreTrainedTokenizerFast

from .passages import Asked, Case, make_case, to_prompt
from .pictures import make_picture_case
from .tokenizer import ASSISTANT, END, USER


RAG_SYSTEM = "Answer from the passages alone."

#: Weights in the loss of the tokens of an answer, of a prompt (made-up names cannot be guessed),
#: and of picture prompts and repeats, which are long and leave much to chance.
ANSWER_WEIGHT = 1.0
PROMPT_WEIGHT = 0.03
LONG_ANSWER_WEIGHT = 0.2
#: Sequences are padded to the next of these, in tokens.
LENGTHS = (96, 192, 320)
#: Further questions asked of the same passages, in further turns.
MORE_QUESTIONS = 7
#: Tokens in the vocabulary before this one are special.
FIRST_PLAIN_TOKEN = 6


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the tasks among the lessons, and how hard the questions are.

    `plain`, `which` and `inside` are the shares kept of the questions of each sort.
    """

    repeats: float
    pictures: float
    max_passages: int
    refusals: float
    plain: float
    which: float
    inside: float


@dataclass(frozen=True, slots=True)
class Lesson:
    """Tokens, and what each weighs in the loss."""

    tokens: list[int]
    weights: list[float]


@dataclass(frozen=True, slots=True)
class Batch:
    """Inputs, targets and weights, each [batch, length], and the stage that they are of."""

    inputs: torch.Tensor
    targets: torch.Tensor
    weights: torch.Tensor
    stage: int

    @property
    def weight(self) -> float:
        """Weigh the whole batch."""
        return self.weights.sum().item()

    @property
    def num_answers(self) -> int:
        """Count the tokens of answers."""
        return int((self.weights == ANSWER_WEIGHT).sum())

    def part(self, index: int, num_parts: int, device: torch.device) -> Batch:
        """Give one of several parts of the rows, on the device."""
        rows = slice(index, None, num_parts)
        return Batch(
            self.inputs[rows].to(device),
            self.targets[rows].to(device),
            self.weights[rows].to(device),
            self.stage,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A mix, and when to leave it: at an answer loss, or at a share of the training."""

    mix: Mix
    until_loss: float = 0.0
    until_progress: float = 1.0


#: Which passage a question is about comes first: learned beside everything else, it was guessed
#: after 2,700 steps still. Then all sorts of questions, and at last hardly any but the plain ones.
STAGES = (
    Stage(mix=Mix(0.15, 0.0, 4, 0.0, 0.0, 1.0, 0.0), until_loss=0.025, until_progress=0.08),
    Stage(mix=Mix(0.05, 0.02, 3, 0.1, 0.5, 0.8, 0.7), until_loss=0.2, until_progress=0.2),
    Stage(mix=Mix(0.02, 0.06, 4, 0.25, 0.9, 0.4, 0.3), until_loss=0.05, until_progress=0.5),
    Stage(mix=Mix(0.0, 0.08, 4, 0.32, 1.0, 0.1, 0.1)),
)


class Course:
    """Says which stage training has come to."""

    def __init__(self, stage: int = 0) -> None:
        self.stage = stage
        self._loss: float | None = None

    def hear(self, answer_loss: float, stage: int, progress: float) -> bool:
        """Take in the loss of a batch; go on to the next stage when this one is learned.

        Batches of an earlier stage, which were made ahead, say nothing of this one. Return whether
        the stage is a new one.
        """
        if stage != self.stage:
            return False
        before = answer_loss if self._loss is None else self._loss
        self._loss = 0.95 * before + 0.05 * answer_loss
        present = STAGES[stage]
        is_learned = self._loss < present.until_loss or progress > present.until_progress
        if not is_learned or present is STAGES[-1]:
            return False
        self.stage += 1
        self._loss = None
        return True


class Teacher:
    """Makes lessons of a stage's mix, from one seed."""

    def __init__(self, tokenizer: PreTrainedTokenizerFast, seed: int | str, stage: int = 0) -> None:
        self.tokenizer = tokenizer
        self.random = Random(seed)
        self._go_to(stage)

    def _go_to(self, stage: int) -> None:
        self.stage = stage
        self.mix = STAGES[stage].mix
        self._waiting: dict[int, list[Lesson]] = {length: [] for length in LENGTHS}

    def lesson(self) -> Lesson:
        """Make one lesson of the current mix."""
        mix = self.mix
        kind = self.random.random()
        if kind < mix.repeats:
            return self._repeat()
        if kind < mix.repeats + mix.pictures:
            picture = make_picture_case(self.random)
            messages = [{"role": "user", "content": picture.prompt}]
            lesson = self._chat(messages, picture.answer, LONG_ANSWER_WEIGHT)
            return self._with_firm_ends(lesson)
        case, questions = self._questions()
        (question, answer), *more = questions
        messages = [{"role": "user", "content": to_prompt(case.passages, question)}]
        if self.random.random() < 0.95:
            messages.insert(0, {"role": "system", "content": RAG_SYSTEM})
        return self._chat(messages, answer, ANSWER_WEIGHT, more)

    def _questions(self) -> tuple[Case, list[Asked]]:
        """Make a case, and keep a share of each sort of question on it, in any order."""
        mix = self.mix
        while True:
            case = make_case(
                self.random,
                max_passages=mix.max_passages,
                refusals=mix.refusals,
                num_more=MORE_QUESTIONS,
            )
            sorts = (
                (mix.plain, ((case.question, case.answer), *case.more)),
                (mix.which, case.which),
                (mix.inside, case.inside),
            )
            kept = [
                asked for share, sort in sorts for asked in sort if self.random.random() < share
            ]
            if kept:
                return case, self.random.sample(kept, len(kept))

    def _chat(
        self,
        messages: list[dict[str, str]],
        answer: str,
        weight: float,
        more: Sequence[tuple[str, str]] = (),
    ) -> Lesson:
        """Lay out a chat; `more` are further turns, which share the tokens of the passages."""
        tokens: list[int] = []
        weights: list[float] = []

        def add(text: str, weight: float) -> None:
            new = self.tokenizer.encode(text, add_special_tokens=False)
            tokens.extend(new)
            weights.extend([weight] * len(new))

        prompt = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=True, tokenize=False
        )
        add(prompt, PROMPT_WEIGHT)
        add(f" {answer}{END}", weight)
        for question, reply in more:
            before = len(tokens)
            add(f"{USER} Question: {question}{END}{ASSISTANT}", PROMPT_WEIGHT)
            add(f" {reply}{END}", weight)
            if len(tokens) > LENGTHS[-1]:
                del tokens[before:], weights[before:]
                break
        return Lesson(tokens, weights)

    def _with_firm_ends(self, lesson: Lesson) -> Lesson:
        """Let the ends of lines weigh as much as an answer: how many there are matters."""
        ends = {self.tokenizer.eos_token_id, *self.tokenizer.encode("\n", add_special_tokens=False)}
        weights = [
            ANSWER_WEIGHT if weight == LONG_ANSWER_WEIGHT and token in ends else weight
            for token, weight in zip(lesson.tokens, lesson.weights, strict=True)
        ]
        return Lesson(lesson.tokens, weights)

    def _repeat(self) -> Lesson:
        """Random tokens, then all or runs of them again: what copying is learned from."""
        plain = range(FIRST_PLAIN_TOKEN, len(self.tokenizer))
        whole = self.random.random() < 0.5
        count = self.random.randint(6, 40)
        first = [self.random.choice(plain) for _ in range(count)]
        tokens = list(first)
        while len(tokens) <= LENGTHS[0]:
            length = count if whole else self.random.randint(4, max(count, 8) // 2)
            start = self.random.randint(0, count - length)
            tokens += first[start : start + length]
        tokens = tokens[: LENGTHS[0] + 1]
        weights = [PROMPT_WEIGHT] * (count + 1)
        return Lesson(tokens, weights + [LONG_ANSWER_WEIGHT] * (len(tokens) - count - 1))

    def batch(self, num_tokens: int, stage: int) -> Batch:
        """Collect lessons of a stage and of like length until a batch of `num_tokens` is full."""
        if stage != self.stage:
            self._go_to(stage)
        while True:
            lesson = self.lesson()
            length = next((size for size in LENGTHS if len(lesson.tokens) - 1 <= size), None)
            if length is None:
                continue
            waiting = self._waiting[length]
            waiting.append(lesson)
            if len(waiting) >= num_tokens // length:
                self._waiting[length] = []
                return to_batch(waiting, length, stage)


def to_batch(lessons: list[Lesson], length: int, stage: int) -> Batch:
    """Pad lessons on the right; padding has no weight."""
    inputs = torch.zeros(len(lessons), length, dtype=torch.long)
    targets = torch.zeros(len(lessons), length, dtype=torch.long)
    weights = torch.zeros(len(lessons), length)
    for row, lesson in enumerate(lessons):
        count = len(lesson.tokens) - 1
        inputs[row, :count] = torch.tensor(lesson.tokens[:-1])
        targets[row, :count] = torch.tensor(lesson.tokens[1:])
        weights[row, :count] = torch.tensor(lesson.weights[1:])
    return Batch(inputs, targets, weights, stage)
