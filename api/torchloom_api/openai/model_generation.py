"""ModelGeneration: tasks of a language model, an answer each, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import cast

from torchloom.deployment import Deployment
from torchloom.engine import Values
from torchloom.run_options import RunOptions
from torchloom.timings import Meter
from torchloom_api.openai.generation import Answer, CallPiece, Finish, OnEvent, Piece
from torchloom_api.openai.side_by_side import all_of
from torchloom_api.openai.token_logprob import read_told
from torchloom_api.openai.tool_call import to_calls, to_deltas
from torchloom_api.service import Service


@dataclass(frozen=True, slots=True)
class Prompt:
    """What one task is asked."""

    inputs: Values
    params: Values


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelGeneration:
    """A Generation: one task for each answer, of one version of one model."""

    service: Service
    deployment: Deployment
    prompts: Sequence[Prompt]
    num_choices: int
    options: RunOptions
    meter: Meter | None = None

    @property
    def num_answers(self) -> int:
        """How many answers there will be."""
        return len(self.prompts)

    async def run(self, on_event: OnEvent | None = None) -> list[Answer]:
        """Give all answers."""
        return await all_of(
            self._answer(index, prompt, on_event) for index, prompt in enumerate(self.prompts)
        )

    async def _answer(self, index: int, prompt: Prompt, on_event: OnEvent | None) -> Answer:
        def tell(chunk: Values) -> None:
            piece = _to_piece(index, chunk)
            if on_event is not None and piece is not None:
                on_event(piece)

        outputs = await self.service.orchestrator.predict(
            self.deployment.name,
            prompt.inputs,
            prompt.params,
            version=self.deployment.version,
            sink=tell if on_event is not None else None,
            options=self.options,
            meter=self.meter,
        )
        answer = _to_answer(outputs)
        if on_event is not None:
            on_event(Finish(index, answer))
        return answer


def _to_answer(outputs: Values) -> Answer:
    usage = cast("Mapping[str, int]", outputs["usage"])
    return Answer(
        text=str(outputs["text"]),
        finish_reason=str(outputs["finish_reason"]),
        num_prompt=usage["prompt"],
        num_cached=usage["cached"],
        num_written=usage["completion"],
        calls=to_calls(outputs),
        logprobs=read_told(outputs.get("logprobs")),
        prompt_logprobs=read_told(outputs.get("prompt_logprobs")),
    )


def _to_piece(index: int, chunk: Values) -> Piece | CallPiece | None:
    """Read what a chunk tells; None where it tells nothing."""
    logprobs, deltas = read_told(chunk.get("logprobs")), to_deltas(chunk)
    if deltas:
        return CallPiece(index, deltas, logprobs)
    text, prompt_logprobs = str(chunk.get("text", "")), read_told(chunk.get("prompt_logprobs"))
    is_empty = not (text or logprobs or prompt_logprobs)
    return None if is_empty else Piece(index, text, logprobs, prompt_logprobs)
