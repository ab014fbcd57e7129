"""ResponseOutput: the items of one response, as they begin and end. Knows no request and no wire.

A message with one text, and calls, in the order of their beginning.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from torchloom_api.openai.citation import TextAnnotation
from torchloom_api.openai.generation import Answer
from torchloom_api.openai.response_document import (
    FunctionCall,
    OutputItem,
    OutputMessage,
    OutputText,
    Status,
)
from torchloom_api.openai.token_logprob import TokenLogprob
from torchloom_api.openai.tool_call import CallDelta, CalledFunction, ToolCall


#: What happens, and the fields of its event.
Happening = tuple[str, dict[str, object]]


@dataclass(slots=True, kw_only=True)
class _Call:
    """A call, as far as it has come, in its place of the output."""

    place: int
    id: str
    name: str
    arguments: list[str] = field(default_factory=list)

    @property
    def whole(self) -> ToolCall:
        """The call."""
        function = CalledFunction(name=self.name, arguments="".join(self.arguments))
        return ToolCall(id=self.id, function=function)


class ResponseOutput:
    """Each method gives what happens, in order. `name` is what the ids of items end in."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._written: list[str] = []
        self._message_place: int | None = None
        self._calls: list[_Call] = []
        self._done: dict[int, OutputItem] = {}

    def begin_message(self) -> Iterator[Happening]:
        """Begin the message, with the text in it, unless that has been."""
        if self._message_place is not None:
            return
        self._message_place = len(self._calls)
        item = OutputMessage(id=self._message_id, status="in_progress", content=())
        yield "output_item.added", {"output_index": self._message_place, "item": item}
        yield self._of_part("content_part.added", part=OutputText(text=""))

    def add_text(self, text: str, logprobs: Sequence[TokenLogprob]) -> Iterator[Happening]:
        """Take more text, and the tokens that end in it."""
        yield from self.begin_message()
        self._written.append(text)
        yield self._of_part("output_text.delta", delta=text, logprobs=logprobs)

    def add_calls(self, deltas: Sequence[CallDelta]) -> Iterator[Happening]:
        """Take what is new of calls: one that begins ends the one before it."""
        for delta in deltas:
            if delta.index == len(self._calls):
                yield from self._end_call("completed")
                yield self._begin_call(delta)
            text = delta.function.arguments
            call = self._calls[-1]
            if isinstance(text, str) and text:
                call.arguments.append(text)
                place = {"item_id": self._call_id(delta.index), "output_index": call.place}
                yield "function_call_arguments.delta", {**place, "delta": text}

    def finish(self, answer: Answer, logprobs: Sequence[TokenLogprob]) -> Iterator[Happening]:
        """Take the whole answer: what it cites, and each item as it is in the end."""
        if not self._calls:
            yield from self.begin_message()
        place, last = self._message_place, len(self._calls) - (self._message_place is None)
        if place is not None:
            item = self._to_message(answer, logprobs, is_last=place == last)
            yield from self._end_message(place, item)
        if self._calls:
            yield from self._end_call(_end_of(answer, is_last=self._calls[-1].place == last))

    def gather(self, answer: Answer, logprobs: Sequence[TokenLogprob]) -> list[OutputItem]:
        """Give the items of an answer that comes at once."""
        items: list[OutputItem] = []
        if answer.text or not answer.calls:
            items.append(self._to_message(answer, logprobs, is_last=not answer.calls))
        for number, call in enumerate(answer.calls):
            end = _end_of(answer, is_last=number == len(answer.calls) - 1)
            items.append(FunctionCall.of(call, item_id=self._call_id(number), status=end))
        return items

    @property
    def items(self) -> list[OutputItem]:
        """What there is by now; what has not ended is incomplete."""
        items = dict(self._done)
        if self._message_place is not None and self._message_place not in items:
            part = OutputText(text="".join(self._written))
            message = OutputMessage(id=self._message_id, status="incomplete", content=[part])
            items[self._message_place] = message
        if self._calls and self._calls[-1].place not in items:
            items[self._calls[-1].place] = self._to_call("incomplete")
        return [items[place] for place in sorted(items)]

    @property
    def _message_id(self) -> str:
        return f"msg_{self._name}"

    def _call_id(self, number: int) -> str:
        return f"fc_{self._name}_{number}"

    def _begin_call(self, delta: CallDelta) -> Happening:
        place = len(self._calls) + (self._message_place is not None)
        self._calls.append(_Call(place=place, id=str(delta.id), name=str(delta.function.name)))
        item = self._to_call("in_progress")
        return "output_item.added", {"output_index": place, "item": item}

    def _end_call(self, status: Status) -> Iterator[Happening]:
        if not self._calls:
            return
        place, item = self._calls[-1].place, self._to_call(status)
        self._done[place] = item
        told = {"item_id": item.id, "output_index": place, "arguments": item.arguments}
        yield "function_call_arguments.done", {**told, "name": item.name}
        yield "output_item.done", {"output_index": place, "item": item}

    def _to_call(self, status: Status) -> FunctionCall:
        number = len(self._calls) - 1
        return FunctionCall.of(self._calls[-1].whole, item_id=self._call_id(number), status=status)

    def _end_message(self, place: int, item: OutputMessage) -> Iterator[Happening]:
        self._done[place] = item
        (part,) = item.content
        for index, annotation in enumerate(part.annotations):
            yield self._of_part(
                "output_text.annotation.added", annotation_index=index, annotation=annotation
            )
        yield self._of_part("output_text.done", text=part.text, logprobs=part.logprobs)
        yield self._of_part("content_part.done", part=part)
        yield "output_item.done", {"output_index": place, "item": item}

    def _to_message(
        self, answer: Answer, logprobs: Sequence[TokenLogprob], *, is_last: bool
    ) -> OutputMessage:
        annotations = [TextAnnotation.of(each) for each in answer.citations]
        part = OutputText(text=answer.text, annotations=annotations, logprobs=logprobs)
        status = _end_of(answer, is_last=is_last)
        return OutputMessage(id=self._message_id, status=status, content=[part])

    def _of_part(self, kind: str, **fields: object) -> Happening:
        """Say what happens to the one text in the one message."""
        place = {"output_index": self._message_place, "content_index": 0}
        return kind, {"item_id": self._message_id, **place, **fields}


def _end_of(answer: Answer, *, is_last: bool) -> Status:
    """Say how an item ends: it is the last that is cut short."""
    return "incomplete" if is_last and answer.finish_reason == "length" else "completed"
