"""WorkflowGeneration: a run of a workflow that answers a chat. Knows no form of answers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from msgspec.structs import replace

from torchloom.engine import Values
from torchloom.event_log import RunEvent
from torchloom.graph import Graph
from torchloom.run import Run
from torchloom.run_options import RunOptions
from torchloom_api.openai.answer_text import AnswerText
from torchloom_api.openai.citation import to_citations
from torchloom_api.openai.generation import Answer, Finish, OnEvent, Piece
from torchloom_api.service import Service


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowGeneration:
    """A Generation of one answer: the text of the nodes that the graph streams.

    Its tokens are those of all language models that the run called; its citations are the output
    `sources`.
    """

    service: Service
    graph: Graph
    inputs: Values
    options: RunOptions
    num_answers: int = 1
    num_choices: int = 1

    async def run(self, on_event: OnEvent | None = None) -> list[Answer]:
        """Run the graph. Raises what it fails for."""
        options = replace(self.options, is_streamed=on_event is not None)
        run = self.service.orchestrator.start_run(self.graph, self.inputs, options=options)
        try:
            answer = await self._follow(run, on_event)
        finally:
            # Whoever leaves ends it; one that is over stays as it is.
            run.cancel()
        if on_event is not None:
            on_event(Finish(0, answer))
        return [answer]

    async def _follow(self, run: Run, on_event: OnEvent | None) -> Answer:
        text = AnswerText(self.graph.stream)
        told: list[str] = []
        async for event in run.events():
            piece = self._read(event, text)
            told.append(piece)
            if piece and on_event is not None:
                on_event(Piece(0, piece))
        outputs = await run.result()
        whole = "".join(told)
        usage = _sum_usage(run)
        return Answer(
            text=whole,
            finish_reason=text.finish_reason,
            num_prompt=usage["prompt"],
            num_cached=usage["cached"],
            num_written=usage["completion"],
            citations=to_citations(outputs.get("sources"), len(whole)),
        )

    def _read(self, event: RunEvent, text: AnswerText) -> str:
        """Give what an event adds to the answer that can be told by now."""
        data, node = event.data, str(event.data.get("node"))
        if node not in self.graph.stream:
            return ""
        match event.type, data:
            case "node.chunk", {"text": str() as piece}:
                return text.add(node, piece)
            case "node.finished", {"outputs": dict() as outputs}:
                return text.finish(node, outputs)
            case "node.skipped", _:
                return text.skip(node)
            case "node.restarted", _:
                text.start_over(node)
        return ""


def _sum_usage(run: Run) -> Counter[str]:
    """Add up the tokens of language models: of those that tell how many they wrote."""
    usage: Counter[str] = Counter()
    for counts in run.usage.values():
        if "completion" in counts:
            usage.update(counts)
    return usage
