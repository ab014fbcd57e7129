"""Generation: the tasks of one request, an answer each, side by side. Knows no form of answers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, cast

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.run import RunOptions
from torchloom_api.registrar import first_error
from torchloom_api.service import Service


@dataclass(frozen=True, slots=True)
class Answer:
    """A whole answer, and the tokens that it took."""

    text: str
    finish_reason: str
    num_prompt: int
    num_cached: int
    num_written: int

    @classmethod
    def of(cls, outputs: Values) -> Self:
        """Read what a language model gives."""
        usage = cast("Mapping[str, int]", outputs["usage"])
        return cls(
            text=str(outputs["text"]),
            finish_reason=str(outputs["finish_reason"]),
            num_prompt=usage["prompt"],
            num_cached=usage["cached"],
            num_written=usage["completion"],
        )


@dataclass(frozen=True, slots=True)
class Piece:
    """Some more text of one answer."""

    index: int
    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of one answer."""

    index: int
    answer: Answer


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one task is asked."""

    inputs: Values
    params: Values


OnEvent = Callable[[Piece | Finish], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One task for each answer, of one version of one model. `num_choices` belong to a prompt."""

    service: Service
    deployment: Deployment
    prompts: Sequence[Prompt]
    num_choices: int
    options: RunOptions

    async def run(self, on_event: OnEvent | None = None) -> list[Answer]:
        """Give all answers. One that fails ends all; whoever cancels this cancels every task.

        Events are told as they come; without `on_event` no piece of text crosses a process.
        """
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._answer(index, prompt, on_event))
                    for index, prompt in enumerate(self.prompts)
                ]
        except BaseExceptionGroup as errors:
            raise first_error(errors) from None
        return [task.result() for task in tasks]

    async def _answer(self, index: int, prompt: Prompt, on_event: OnEvent | None) -> Answer:
        def tell(chunk: Values) -> None:
            text = chunk.get("text")
            if on_event is not None and isinstance(text, str) and text:
                on_event(Piece(index, text))

        outputs = await self.service.orchestrator.predict(
            self.deployment.name,
            prompt.inputs,
            prompt.params,
            version=self.deployment.version,
            sink=tell if on_event is not None else None,
            options=self.options,
        )
        answer = Answer.of(outputs)
        if on_event is not None:
            on_event(Finish(index, answer))
        return answer
